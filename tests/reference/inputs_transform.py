"""Pictures for the transforms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deit.randomness import generator

SEED = 3


def picture(height: int, width: int) -> np.ndarray:
    """uint8 [height, width, 3]: waves of many lengths, edges and noise, different in each channel.

    In whole numbers, so that it is the same on any machine; the last channel does not use all levels.
    """
    y, x = np.mgrid[:height, :width]
    waves = [zigzag(x * x // 50 + y, 400), zigzag(y * y // 40 + 9 * x, 460), 40 + zigzag(x * y // 30, 240)]
    image = np.stack(waves, -1) + 30 * ((x // 13 + y // 7) % 2)[..., None]
    image += generator(SEED, "reference:picture", height, width).integers(-12, 13, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def zigzag(place: np.ndarray, length: int) -> np.ndarray:
    """Up to half of ``length`` and down again."""
    return np.abs(place % length - length // 2)


@dataclass(frozen=True)
class Evaluation:
    """Settings of an evaluation transform."""

    size: int
    crop_pct: float
    interpolation: str = "bicubic"


EVALUATIONS = (
    Evaluation(224, 0.875),
    Evaluation(224, 0.9),
    Evaluation(224, 0.9, "bilinear"),
    Evaluation(384, 1.0),
    Evaluation(32, 1.0),
    Evaluation(32, 0.875, "bilinear"),
)
EDGES = ((375, 500), (500, 333), (60, 333), (31, 17), (1, 3), (768, 257), (300, 300))


def shapes(settings: Evaluation) -> list[tuple[int, int]]:
    """Heights and widths: landscape, portrait, narrow, tiny, square, and around the size that needs no resizing."""
    short = int(settings.size / settings.crop_pct)
    exact = [(short + i, short + j) for i, j in ((0, 0), (0, 1), (1, 0), (-1, 0), (1, 1), (0, -1), (0, 77))]
    return [*EDGES, *exact]
