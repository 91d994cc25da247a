"""Networks for images of another number of channels or another aspect ratio, and transforms for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from reference.inputs_transform import Evaluation

from deit.randomness import generator

VARIANT = "deit_tiny_patch16_224"  # and the option deit_tiny of conf/model/
CHANNELS = (1, 4)
RECTANGLE = (160, 256)  # height and width
GRIDS = (((14, 14), (10, 16)), ((10, 16), (16, 10)), ((6, 4), (24, 11)), ((24, 11), (6, 4)))  # of patches, before and after
GREY = (Evaluation(224, 0.9), Evaluation(32, 1.0, "bilinear"))


@dataclass(frozen=True)
class Rectangle:
    """Settings of an evaluation transform."""

    size: tuple[int, int]
    crop_pct: float
    interpolation: str = "bicubic"


RECTANGLES = (Rectangle((160, 256), 0.9), Rectangle((64, 32), 1.0, "bilinear"), Rectangle((112, 96), 0.875))
PICTURES = ((375, 500), (500, 333), (60, 333), (31, 17), (1, 3), (300, 300), (160, 256), (177, 284), (178, 284), (64, 90))


def positions(rows: int, columns: int, prefix: int) -> np.ndarray:
    """A position embedding [1, prefix + rows * columns, 8]."""
    return generator(0, f"reference:positions:{rows}:{columns}").standard_normal((1, prefix + rows * columns, 8), np.float32)


def images(count: int, channels: int, height: int, width: int) -> np.ndarray:
    """Normalised images [count, channels, height, width]."""
    return generator(0, "reference:images").standard_normal((count, channels, height, width), np.float32)
