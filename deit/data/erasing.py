"""Random erasing (Zhong et al., 2017) as timm 0.3.2 draws it.

The device erases, after normalisation; here only the boxes and what fills them are drawn.
"""

from __future__ import annotations

import math

import numpy as np

ATTEMPTS = 10
AREA = (0.02, 1 / 3)  # least and most share of the image, divided by the number of boxes
LOG_ASPECT = (math.log(0.3), math.log(1 / 0.3))  # of height / width


def draw_boxes(rng: np.random.Generator, size: int, probability: float, most: int) -> np.ndarray:
    """Boxes for one image of size x size (timm's RandomErasing._erase).

    Returns int32 [most, 4], each row top, left, height, width; a row of zeros is no box. With
    ``probability`` there are 1 to ``most`` boxes, less those that fit in none of ten attempts.
    """
    boxes = np.zeros((most, 4), np.int32)
    if rng.random() >= probability:
        return boxes
    count = int(rng.integers(1, most + 1))
    for number in range(count):
        for _ in range(ATTEMPTS):
            area = rng.uniform(*AREA) * size**2 / count
            aspect = math.exp(rng.uniform(*LOG_ASPECT))
            height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if height < size and width < size:
                boxes[number] = rng.integers(size - height + 1), rng.integers(size - width + 1), height, width
                break
    return boxes


def fill_pixels(rng: np.random.Generator, boxes: np.ndarray, noise: np.ndarray) -> None:
    """Write N(0, 1) into ``noise``, float16 [size, size, 3] of zeros, where the ``boxes`` [n, 4] lie."""
    for top, left, height, width in boxes:
        noise[top : top + height, left : left + width] = rng.standard_normal((height, width, 3), np.float32)
