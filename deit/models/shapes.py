"""The parameters of a DeiT, without building it: names and shapes, and multiply-accumulates per image.

The control side prints sizes and plans parameter groups with it, so it uses only the standard library. The names are those of
timm's state_dict, except that MindSpore calls a norm's weight gamma and its bias beta.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from deit.config.schema import ModelConfig

Shape = tuple[int, ...]
HEADS = ("head.", "head_dist.")  # how the names of their parameters begin


def axis_size(shapes: Mapping[str, Shape], name: str, axis: int) -> int:
    """The size of an axis of ``name``; 0 if it is missing or has too few axes, which a comparison of all shapes finds."""
    shape = shapes.get(name, ())
    return shape[axis] if axis < len(shape) else 0


def token_count(model: ModelConfig) -> int:
    """Tokens of one image: the class token, the distillation token if there is one, and the patches."""
    return 1 + model.distilled + math.prod(model.grid)


def position_count(model: ModelConfig) -> int:
    """Rows of the position embedding: one for each token, with ``no_embed_class`` one for each patch."""
    return token_count(model) - (1 + model.distilled if model.no_embed_class else 0)


def mlp_width(model: ModelConfig) -> int:
    """Hidden width of a block's MLP."""
    return int(model.embed_dim * model.mlp_ratio)


def parameter_shapes(model: ModelConfig, num_classes: int) -> dict[str, Shape]:
    """Shape of each parameter, in the order of timm's state_dict (timm: VisionTransformer, VisionTransformerDistilled)."""
    width, hidden, patch = model.embed_dim, mlp_width(model), model.patch_size
    shapes: dict[str, Shape] = {"cls_token": (1, 1, width), "pos_embed": (1, position_count(model), width)}
    if model.distilled:
        shapes["dist_token"] = (1, 1, width)
    shapes |= {"patch_embed.proj.weight": (width, model.in_chans, patch, patch), "patch_embed.proj.bias": (width,)}
    scaled = model.init_values is not None
    for block in range(model.depth):
        layers = (
            _norm("norm1", width)
            | _dense("attn.qkv", width, 3 * width)
            | _dense("attn.proj", width, width)
            | ({"ls1.gamma": (width,)} if scaled else {})
            | _norm("norm2", width)
            | _dense("mlp.fc1", width, hidden)
            | _dense("mlp.fc2", hidden, width)
            | ({"ls2.gamma": (width,)} if scaled else {})
        )
        shapes |= {f"blocks.{block}.{name}": shape for name, shape in layers.items()}
    shapes |= _norm("norm", width) | _dense("head", width, num_classes)
    if model.distilled:
        shapes |= _dense("head_dist", width, num_classes)
    return shapes


def parameter_count(model: ModelConfig, num_classes: int) -> int:
    """Number of trainable scalars."""
    return sum(math.prod(shape) for shape in parameter_shapes(model, num_classes).values())


def gmacs(model: ModelConfig, num_classes: int) -> float:
    """Billions of multiply-accumulates of one image's forward pass: all matrix products, including attention's two.

    Bias, norm, softmax and GELU are not counted, as in the usual tables.
    """
    width, tokens = model.embed_dim, token_count(model)
    patches = tokens - 1 - model.distilled
    embedding = patches * model.in_chans * model.patch_size**2 * width
    dense = tokens * width * (4 * width + 2 * mlp_width(model))
    attention = 2 * tokens**2 * width
    heads = (1 + model.distilled) * width * num_classes
    return (embedding + model.depth * (dense + attention) + heads) / 1e9


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.gamma": (width,), f"{name}.beta": (width,)}


def _dense(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
