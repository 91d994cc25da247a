"""How facebookresearch/deit initialises: the mean and the deviation of each parameter, over several seeds.

timm's trunc_normal_ inverts the distribution in float32, where one draw of some 2**24 is exactly -1 before and the cut at
-2, a hundred deviations away, after it: about one weight of a deit_small. That is an accident of arithmetic; these values
are left out here and not repeated by the project.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from reference.packing import pack
from timm.models.layers import trunc_normal_
from timm.models.vision_transformer import VisionTransformer
from torch import nn

TIMM = "0.3.2"
SEEDS = 5
WIDTHS = {"deit_tiny_distilled": 192, "deit_small": 384}  # option of conf/model/ -> embed_dim
SAMPLED = (
    "cls_token",
    "dist_token",
    "pos_embed",
    "patch_embed.proj.weight",
    "patch_embed.proj.bias",
    "blocks.5.attn.qkv.weight",
)
SAMPLE = 1000  # values kept of each, to compare the form of the distribution


def build(width: int, drop_path_rate: float = 0.0) -> VisionTransformer:
    """The arguments of facebookresearch/deit's models; qkv_bias and eps are not timm 0.3.2's own defaults."""
    return VisionTransformer(
        patch_size=16,
        embed_dim=width,
        depth=12,
        num_heads=width // 64,
        mlp_ratio=4,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        drop_path_rate=drop_path_rate,
    )


def distilled(width: int) -> VisionTransformer:
    """With what the distilled models have besides, initialised as they do it: like the class token and the class head."""
    model = build(width)
    model.dist_token = nn.Parameter(torch.zeros(1, 1, width))
    model.pos_embed = nn.Parameter(torch.zeros(1, model.patch_embed.num_patches + 2, width))
    model.head_dist = nn.Linear(width, 1000)
    trunc_normal_(model.dist_token, std=0.02)
    trunc_normal_(model.pos_embed, std=0.02)
    model.head_dist.apply(model._init_weights)
    return model


def make() -> dict[str, np.ndarray]:
    """``moments.NAME`` [parameters, 3]: mean, standard deviation, values; ``sample.NAME.PARAMETER`` [1000]."""
    arrays, names = {}, {}
    for option, width in WIDTHS.items():
        pooled: dict[str, list[np.ndarray]] = {}
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            model = distilled(width) if "distilled" in option else build(width)
            for name, value in model.state_dict().items():
                values = value.double().numpy().ravel()
                pooled.setdefault(name, []).append(values[values != -2])
        whole = {name: np.concatenate(those) for name, those in pooled.items()}
        names[option] = list(whole)
        arrays[f"moments.{option}"] = np.array([[values.mean(), values.std(), values.size] for values in whole.values()])
        for name in SAMPLED:
            if name in whole:
                spread = np.linspace(0, whole[name].size - 1, min(SAMPLE, whole[name].size)).astype(int)
                arrays[f"sample.{option}.{name}"] = whole[name][spread].astype(np.float32)
    arrays["names"] = pack(names)
    blocks = build(192, drop_path_rate=0.1).blocks
    arrays["drop_path"] = np.array([getattr(block.drop_path, "drop_prob", 0.0) or 0.0 for block in blocks])
    return arrays
