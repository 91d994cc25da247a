"""timm's networks for another number of channels, and its transforms for grey images."""

from __future__ import annotations

import numpy as np
import timm
import torch
from PIL import Image
from reference import inputs_shapes as inputs
from reference.inputs_model import weights
from reference.inputs_transform import picture, shapes
from reference.packing import checksum
from timm.data import create_transform
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
    for number, settings in enumerate(inputs.GREY):
        crops = create_transform(
            settings.size,
            crop_pct=settings.crop_pct,
            interpolation=settings.interpolation,
            mean=(0.5,),
            std=(0.5,),
            use_prefetcher=True,  # leaves uint8
        )
        pictures = [Image.fromarray(picture(*shape)).convert("L") for shape in shapes(settings)]
        answers = [checksum([crops(image).numpy().transpose(1, 2, 0)]) for image in pictures]
        made[f"grey.{number}"] = np.concatenate(answers)
    return made


@torch.no_grad()
def logits(model: nn.Module, filled: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    model.load_state_dict({name: torch.from_numpy(value) for name, value in filled.items()})
    return model.eval()(torch.from_numpy(images)).numpy()
