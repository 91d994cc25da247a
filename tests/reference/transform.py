"""timm's evaluation transform, and the same of torchvision's parts as timm 0.3.2 puts them together."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image
from reference import inputs_transform as inputs
from reference.packing import checksum
from timm.data import create_transform
from torchvision import transforms

TIMM = "1.0.31"


def make() -> dict[str, np.ndarray]:
    made = {}
    for number, settings in enumerate(inputs.EVALUATIONS):
        crops = create_transform(
            settings.size,
            crop_pct=settings.crop_pct,
            interpolation=settings.interpolation,
            use_prefetcher=True,  # leaves uint8
        )
        parts = transforms.Compose(
            [
                transforms.Resize(
                    math.floor(settings.size / settings.crop_pct), transforms.InterpolationMode(settings.interpolation)
                ),
                transforms.CenterCrop(settings.size),
            ]
        )
        pictures = [inputs.picture(*shape) for shape in inputs.shapes(settings)]
        timm = [checksum([crops(Image.fromarray(image)).numpy().transpose(1, 2, 0)]) for image in pictures]
        old = [checksum([np.asarray(parts(Image.fromarray(image)))]) for image in pictures]
        made[f"evaluation.{number}.timm"], made[f"evaluation.{number}.parts"] = np.concatenate(timm), np.concatenate(old)
        made[f"evaluation.{number}.inputs"] = checksum(pictures)
    return made
