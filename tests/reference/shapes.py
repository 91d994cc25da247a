"""timm's networks for another number of channels and for rectangular images, and its transforms for both."""

from __future__ import annotations

from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from reference import inputs_shapes as inputs
from reference.inputs_model import weights
from reference.inputs_transform import picture, shapes
from reference.packing import checksum
from timm.data import create_transform
from timm.layers import resample_abs_pos_embed
from timm.models._manipulate import adapt_input_conv
from torch import nn

TIMM = "1.0.31"


def make() -> dict[str, np.ndarray]:
    filled = weights({name: tuple(value.shape) for name, value in timm.create_model(inputs.VARIANT).state_dict().items()})
    made = {"inputs": checksum(list(filled.values()))}
    for channels in inputs.CHANNELS:
        conv = "patch_embed.proj.weight"
        adapted = filled | {conv: adapt_input_conv(channels, torch.from_numpy(filled[conv])).numpy()}
        model = timm.create_model(inputs.VARIANT, in_chans=channels)
        made[f"logits.channels.{channels}"] = logits(model, adapted, inputs.images(2, channels, 224, 224))
    height, width = inputs.RECTANGLE
    wide = filled | {"pos_embed": resampled(filled["pos_embed"], (14, 14), (height // 16, width // 16), 1, antialias=True)}
    model = timm.create_model(inputs.VARIANT, img_size=inputs.RECTANGLE)
    made["logits.rectangle"] = logits(model, wide, inputs.images(2, 3, height, width))
    for number, (old, new) in enumerate(inputs.GRIDS):
        for antialias in (True, False):
            found = resampled(inputs.positions(*old, prefix=2), old, new, 2, antialias=antialias)
            made[f"positions.{number}.{'antialias' if antialias else 'plain'}"] = found
    for number, grey in enumerate(inputs.GREY):
        pictures = [Image.fromarray(picture(*shape)).convert("L") for shape in shapes(grey)]
        made[f"grey.{number}"] = evaluated(grey, pictures, mean=(0.5,), std=(0.5,))
    for number, rectangle in enumerate(inputs.RECTANGLES):
        made[f"rectangle.{number}"] = evaluated(rectangle, [Image.fromarray(picture(*shape)) for shape in inputs.PICTURES])
    return made


def evaluated(settings: Any, pictures: list[Image.Image], **channels: Any) -> np.ndarray:
    """The checksum of each picture's crop."""
    crops = create_transform(
        settings.size,
        crop_pct=settings.crop_pct,
        interpolation=settings.interpolation,
        use_prefetcher=True,  # leaves uint8
        **channels,
    )
    return np.concatenate([checksum([crops(image).numpy().transpose(1, 2, 0)]) for image in pictures])


def resampled(pos_embed: np.ndarray, old: tuple[int, int], new: tuple[int, int], prefix: int, *, antialias: bool) -> np.ndarray:
    return resample_abs_pos_embed(
        torch.from_numpy(pos_embed), list(new), list(old), num_prefix_tokens=prefix, antialias=antialias
    ).numpy()


@torch.no_grad()
def logits(model: nn.Module, filled: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    model.load_state_dict({name: torch.from_numpy(value) for name, value in filled.items()})
    return model.eval()(torch.from_numpy(images)).numpy()
