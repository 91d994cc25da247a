"""Pictures, magnitudes and draws for the training transform: timm's and this project's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from reference.inputs_transform import picture

from deit.randomness import generator

SEED = 3
FILL = (124, 116, 104)  # round(255 * mean) of ImageNet
INTERPOLATIONS = ("bicubic", "bilinear")
LEVELS = (*map(float, range(11)), 0.37, 4.42, 8.63, 9.37)
SIGNS = (1, -1)
FACTORS = (0.0, 0.1, 0.4, 0.7, 1.0, 1.3, 1.9)  # of enhancements
RADII = (0.1, 0.35, 0.8, 1.0, 1.5, 2.0)  # of blurs


def pictures() -> list[np.ndarray]:
    """Oblong ones of odd sides, and one of a single level, which some operations divide by."""
    return [picture(48, 64), picture(31, 17), np.full((8, 9, 3), 77, np.uint8)]


# Boxes

CROPS = {  # scale, ratio
    "ImageNet": ((0.08, 1.0), (3 / 4, 4 / 3)),
    "digits": ((0.8, 1.0), (0.9, 1 / 0.9)),
    "whole": ((1.0, 1.0), (1.0, 1.0)),
}
CROPPED = ((375, 500), (500, 375), (224, 224), (12, 16), (10, 1000), (1000, 10), (100, 400), (401, 100))  # heights, widths
# Side, most boxes. In the smallest images boxes are often as high or wide as the image, which is refused.
ERASED = ((224, 1), (224, 3), (32, 1), (28, 2), (2, 1), (3, 2))
BOXES = 20  # draws of each


def uniform(purpose: str, number: int) -> np.ndarray:
    """As many uniform numbers as the boxes of an image can take."""
    return generator(SEED, f"reference:augment:{purpose}", number).random(256)


# Whole transforms

SIDE = 40  # of the result
SCALE, RATIO = (0.08, 0.5), (3 / 4, 4 / 3)  # the first draw always fits into the picture
JITTER = 0.3
IMAGES = 60


@dataclass(frozen=True)
class Draws:
    """What an image of the training transform draws, for every step that there can be."""

    crop: np.ndarray  # 4 uniform numbers: area, ratio, top, left
    flip: float  # uniform: mirrored below 0.5
    choices: np.ndarray  # uniform, one a layer: which operation
    applied: np.ndarray  # uniform: applied below the probability
    deviation: np.ndarray  # normal: of the magnitude
    negative: np.ndarray  # bool: sign of the argument
    radius: float  # uniform
    order: np.ndarray  # of brightness, contrast, saturation (0, 1, 2)
    factors: np.ndarray  # uniform, of the three

    @property
    def inputs(self) -> list[np.ndarray]:
        return [np.asarray(value) for value in vars(self).values()]


def draws(number: int, layers: int = 2) -> Draws:
    rng = generator(SEED, "reference:augment:transform", number)
    return Draws(
        crop=rng.random(4),
        flip=float(rng.random()),
        choices=rng.random(layers),
        applied=rng.random(layers),
        deviation=rng.standard_normal(layers),
        negative=rng.random(layers) < 0.5,
        radius=float(rng.random()),
        order=rng.permutation(3),
        factors=rng.random(3),
    )
