"""Random erasing (Zhong et al., 2017) as timm 0.3.2 draws it.

The device erases, after normalisation. Here the boxes are drawn, and which rows of a bank of N(0, 1) values fill them: the
device creates the bank once from the seed, so that no noise is drawn or copied for a batch.
"""

from __future__ import annotations

import math

import numpy as np

from deit.data.crop import Size
from deit.randomness import generator

ATTEMPTS = 10
AREA = (0.02, 1 / 3)  # minimum and maximum fraction of the image, divided by the number of boxes
ROWS = 1 << 14  # of the bank, a power of two; 15 MB at 224 pixels
LOG_ASPECT = (math.log(0.3), math.log(1 / 0.3))  # height / width


def draw_boxes(rng: np.random.Generator, size: Size, probability: float, most: int) -> np.ndarray:
    """Boxes for one image of that size (timm's RandomErasing._erase).

    Returns int32 [most, 4], each row top, left, height, width; a row of zeros is no box. With ``probability`` there are 1 to
    ``most`` boxes, minus those that fit in none of ten attempts.
    """
    boxes = np.zeros((most, 4), np.int32)
    if rng.random() >= probability:
        return boxes
    count = int(rng.integers(1, most + 1))
    for number in range(count):
        for _ in range(ATTEMPTS):
            area = rng.uniform(*AREA) * (size[0] * size[1]) / count
            aspect = math.exp(rng.uniform(*LOG_ASPECT))
            height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if height < size[0] and width < size[1]:
                boxes[number] = rng.integers(size[0] - height + 1), rng.integers(size[1] - width + 1), height, width
                break
    return boxes


def noise_bank(seed: int, size: Size) -> np.ndarray:
    """N(0, 1) values float32 [rows, width], the same for all batches and ranks of a run."""
    return generator(seed, "erasing noise").standard_normal((_rows(size[0]), size[1]), np.float32)


def noise_rows(rng: np.random.Generator, height: int, channels: int = 3) -> np.ndarray:
    """The rows of the bank for an image's boxes, int32 [channels, height]: one for each channel and each row of the image.

    They start at a random row with a random odd stride, so that no row is repeated in an image, and two images share few
    rows, at different places.
    """
    rows = _rows(height)
    first, distance = rng.integers(rows), 2 * rng.integers(rows // 2) + 1
    return ((first + distance * np.arange(channels * height)) & (rows - 1)).astype(np.int32).reshape(channels, height)


def _rows(height: int) -> int:
    """ROWS, or more for images so large that rows would be repeated, with up to three channels."""
    return max(ROWS, 1 << (3 * height - 1).bit_length())
