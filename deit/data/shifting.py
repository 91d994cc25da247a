"""Translations and shears as in Pillow, along one axis, so that four pixels are interpolated instead of sixteen.

Pillow truncates levels, repeats the outermost pixels, and fills what is outside. Its cubic kernel has a = -1.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

CUT_OFF = -0.49  # before rounding, which truncates while whole levels stay whole
Colour = tuple[int, int, int]


def translated(image: np.ndarray, columns: float, cubic: bool, fill: Colour) -> np.ndarray:
    """Pixel x of a row of uint8 [H, W, 3] gets the value ``columns`` to the right of it."""
    width = image.shape[1]
    whole = math.floor(columns)
    # One more column on the left: positions start at -1.
    padded = cv2.copyMakeBorder(image, 0, 0, 1, 0, cv2.BORDER_REPLICATE)
    taps = _weights(np.array([columns - whole]), cubic)
    between = cv2.filter2D(padded, -1, taps, anchor=(1, 0), delta=CUT_OFF, borderType=cv2.BORDER_REPLICATE)
    first, stop = (min(width, max(0, math.ceil(edge - columns - 0.5))) for edge in (0, width))
    moved = np.empty_like(image)
    moved[:, :first] = fill
    moved[:, first:stop] = between[:, first + whole + 1 : stop + whole + 1]
    moved[:, stop:] = fill
    return moved


def sheared(image: np.ndarray, slope: float, cubic: bool, fill: Colour) -> np.ndarray:
    """Row y of uint8 [H, W, 3] gets the values ``slope`` * (y + 0.5) columns to the right."""
    height, width = image.shape[:2]
    columns = slope * (np.arange(height) + 0.5)
    whole = np.floor(columns).astype(int)
    low, high = int(whole.min()) - 1, int(whole.max()) + 2  # the range of columns that are read
    padded = cv2.copyMakeBorder(image, 0, 0, max(0, -low), max(0, high), cv2.BORDER_REPLICATE)
    rows = padded.reshape(height, -1)
    # The part of each row that is read, three pixels longer than the row.
    starts = 3 * (whole - 1 + max(0, -low))
    parts = np.lib.stride_tricks.sliding_window_view(rows, 3 * (width + 3), axis=1)[np.arange(height), starts]
    values, weights = parts.astype(np.float32), _weights(columns - whole, cubic)
    total = values[:, : 3 * width] * weights[:, :1]
    for tap in range(1, 4):
        total += values[:, 3 * tap : 3 * (tap + width)] * weights[:, tap : tap + 1]
    moved = cv2.add(total, CUT_OFF, dtype=cv2.CV_8U).reshape(image.shape)  # rounds, and clips to 0 .. 255
    first, stop = (np.ceil(edge - columns - 0.5).astype(np.int32)[:, None] for edge in (0, width))
    places = np.arange(width, dtype=np.int32)
    outside = places < first if slope < 0 else places >= stop
    return cv2.copyTo(_plain(image.shape, fill), outside.astype(np.uint8), moved)


@lru_cache(maxsize=4)
def _plain(shape: tuple[int, ...], fill: Colour) -> np.ndarray:
    """A read-only image of one colour."""
    return np.full(shape, fill, np.uint8)


def _weights(fraction: np.ndarray, cubic: bool) -> np.ndarray:
    """The weights of the four pixels around positions ``fraction`` [N] after the second: float32 [N, 4]."""
    d = fraction
    if cubic:
        weights = [-d + 2 * d**2 - d**3, 1 - 2 * d**2 + d**3, d + d**2 - d**3, d**3 - d**2]
    else:
        weights = [0 * d, 1 - d, d, 0 * d]
    return np.stack(weights, axis=-1).astype(np.float32)
