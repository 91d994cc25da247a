"""Names, shapes and logits of every DeiT of timm, from weights that both sides compute."""

from __future__ import annotations

import numpy as np
import timm
import torch
from reference.inputs_model import RESIZED, VARIANTS, count, images, weights
from reference.packing import checksum, pack
from torch import nn

TIMM = "1.0.31"


def make() -> dict[str, np.ndarray]:
    """For each variant ``logits.NAME`` [heads, B, 1000] (a distilled one: class head, distillation head, mean of both)."""
    arrays, names = {}, {}
    for variant in VARIANTS:
        model = timm.create_model(variant)
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        names[variant] = shapes
        filled = weights(shapes)
        arrays[f"logits.{variant}"] = logits(model, filled)
        arrays[f"inputs.{variant}"] = checksum([*filled.values(), inputs(model)])
        if variant == RESIZED:
            larger = timm.create_model(variant, img_size=384)
            filled["pos_embed"] = resized(filled["pos_embed"], model.num_prefix_tokens, grid=24)
            arrays["logits.resized"] = logits(larger, filled)
    arrays["names"] = pack(names)
    return arrays


def inputs(model: nn.Module) -> np.ndarray:
    size = model.patch_embed.img_size[0]
    return images(count(size), size)


@torch.no_grad()
def logits(model: nn.Module, filled: dict[str, np.ndarray]) -> np.ndarray:
    model.load_state_dict({name: torch.from_numpy(value) for name, value in filled.items()})
    x = torch.from_numpy(inputs(model))
    mean = model.eval()(x)
    if not hasattr(model, "set_distilled_training"):
        return mean[None].numpy()
    model.set_distilled_training(True)
    return torch.stack([*model.train()(x), mean]).numpy()  # nothing in these models is random in training: all rates are 0


def resized(pos_embed: np.ndarray, prefix: int, grid: int, *, antialias: bool = False) -> np.ndarray:
    """The resampling of facebookresearch/deit: bicubic, without antialias; leading tokens stay; timm: with it."""
    tokens, patches = np.split(pos_embed, [prefix], axis=1)
    side = round(patches.shape[1] ** 0.5)
    image = torch.from_numpy(patches).reshape(1, side, side, -1).permute(0, 3, 1, 2)
    image = nn.functional.interpolate(image, size=(grid, grid), mode="bicubic", align_corners=False, antialias=antialias)
    return np.concatenate([tokens, image.permute(0, 2, 3, 1).reshape(1, grid * grid, -1).numpy()], axis=1)
