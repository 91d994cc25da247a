"""Crop boxes: the random one of training (Inception's) and the central one of evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

ATTEMPTS = 10
PADDING = 4  # pixels on each side, of the simple random crop


class Box(NamedTuple):
    """A rectangle in pixels."""

    top: int
    left: int
    height: int
    width: int


Size = tuple[int, int]  # height and width
Choose = Callable[[int, int], Box]  # from the height and the width of an image


def whole(height: int, width: int) -> Box:
    """All of the image."""
    return Box(0, 0, height, width)


def part(image: np.ndarray, box: Box) -> np.ndarray:
    """The pixels [height, width, 3] in the box, a view of those of the image."""
    return image[box.top : box.top + box.height, box.left : box.left + box.width]


def random_box(rng: np.random.Generator, height: int, width: int, scale: list[float], ratio: list[float]) -> Box:
    """A crop of an image of ``height`` x ``width`` (timm's RandomResizedCropAndInterpolation.get_params).

    Its area is uniform in ``scale`` (fractions of the image), its width over height log-uniform in ``ratio``. If ten draws do
    not fit into the image, it is the largest central one with an allowed ratio.
    """
    for _ in range(ATTEMPTS):
        area = rng.uniform(scale[0], scale[1]) * (height * width)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return Box(int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w)
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect)))
    return Box((height - h) // 2, (width - w) // 2, h, w)


def padded_box(rng: np.random.Generator, height: int, width: int, size: Size) -> Box:
    """A random part of that ``size`` of an image of ``height`` x ``width`` that is padded by PADDING on all sides (torchvision:
    RandomCrop with padding).
    """
    sides = zip((height, width), size, strict=True)
    top, left = (int(rng.integers(side + 2 * PADDING - part + 1)) for side, part in sides)
    return Box(top, left, *size)


def resized_shape(height: int, width: int, short: int) -> tuple[int, int]:
    """Height and width when the short side is resized to ``short`` (torchvision's Resize: the long side keeps the aspect ratio,
    truncated).
    """
    long = int(short * max(height, width) / min(height, width))
    return (short, long) if height <= width else (long, short)


def covering_shape(height: int, width: int, size: Size) -> tuple[int, int]:
    """Height and width when the image is resized so that it just covers ``size``.

    For a square as ``resized_shape``; otherwise timm's ResizeKeepRatio, which rounds.
    """
    if size[0] == size[1]:
        return resized_shape(height, width, size[0])
    ratio = min(height / size[0], width / size[1])
    return round(height / ratio), round(width / ratio)


def corner_boxes(height: int, width: int, size: Size) -> list[Box]:
    """The part in each corner: top left, top right, bottom left, bottom right (torchvision's FiveCrop)."""
    return [Box(top, left, *size) for top in (0, height - size[0]) for left in (0, width - size[1])]


def central_box(height: int, width: int, size: Size) -> Box:
    """The central part of that size (torchvision's CenterCrop, which rounds halves to even)."""
    return Box(round((height - size[0]) / 2), round((width - size[1]) / 2), *size)
