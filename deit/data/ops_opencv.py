"""The image operations of the training transform in OpenCV: fast, close to Pillow.

Operations that map each level to a level (AutoContrast, Equalize, Invert, Posterize, Solarize, SolarizeAdd, Brightness) are one
table and equal Pillow's result. Color, Contrast, Desaturate and Sharpness may be off by one level, where a sum is rounded
differently, GaussianBlur by a few, because Pillow rounds more often; so may translations and shears (``deit.data.shifting``).
Rotate has the same geometry but another interpolation: another cubic, positions in 1/32 pixel, rounding where Pillow truncates
(half a level), and a blended border. docs/augmentation.md has the figures. OpenCV releases the GIL, so that threads run in
parallel.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from deit.data.crop import Box, Size
from deit.data.geometry import affine_matrix
from deit.data.operations import Operation
from deit.data.shifting import CUT_OFF, sheared, translated

INTERPOLATION = {"bicubic": cv2.INTER_CUBIC, "bilinear": cv2.INTER_LINEAR}
LEVELS = np.arange(256)
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13  # Pillow's ImageFilter.SMOOTH
PASSES = 3  # box blurs that make a Gaussian blur


class OpencvOps:
    """Operations on uint8 [H, W, 3] in RGB."""

    def __init__(self, interpolation: str, fill: tuple[int, int, int]) -> None:
        """``interpolation`` is for enlarging and the affine operations; ``fill`` is the colour that these uncover, RGB."""
        # The loader's workers are the parallelism; OpenCV's own threads would only compete with them.
        cv2.setNumThreads(0)
        self.interpolation = INTERPOLATION[interpolation]
        self.fill = fill

    def start(self, image: np.ndarray) -> np.ndarray:
        """From uint8 [H, W, 3]."""
        return image

    def finish(self, image: np.ndarray) -> np.ndarray:
        """To uint8 [H, W, 3]."""
        return image

    def crop(self, image: np.ndarray, box: Box, size: Size) -> np.ndarray:
        """Cut out the box and resize it to that size, averaging areas when it shrinks."""
        top, left, height, width = box
        return self.resize(image[top : top + height, left : left + width], *size)

    def resize(self, image: np.ndarray, height: int, width: int) -> np.ndarray:
        """Resize the whole image, averaging areas where it shrinks."""
        shrinks = image.shape[0] >= height and image.shape[1] >= width
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else self.interpolation)

    def reflect(self, image: np.ndarray, padding: int) -> np.ndarray:
        """Add ``padding`` pixels on each side, mirrored at the outermost pixel, which is not repeated."""
        return cv2.copyMakeBorder(image, padding, padding, padding, padding, cv2.BORDER_REFLECT_101)

    def flip(self, image: np.ndarray) -> np.ndarray:
        """Mirror left and right."""
        return cv2.flip(image, 1)

    def apply(self, image: np.ndarray, operation: Operation) -> np.ndarray:
        """One operation of a policy or of the colour jitter."""
        name, argument = operation
        if name == "Rotate":
            return self._rotated(image, operation)
        if name.endswith("X"):
            return self._moved(image, operation)
        if name.endswith("Y"):
            return cv2.transpose(self._moved(cv2.transpose(image), operation))
        if name in ("Color", "Desaturate"):
            return _color(image, argument if name == "Color" else 1 - argument)
        if name == "GaussianBlur":
            return _blur(image, argument)
        if name == "Sharpness":
            return _sharpness(image, argument)
        return cv2.LUT(image, _table(image, operation))

    def _moved(self, image: np.ndarray, operation: Operation) -> np.ndarray:
        """ShearX or TranslateX."""
        cubic = self.interpolation == cv2.INTER_CUBIC
        if operation.name.startswith("Shear"):
            return sheared(image, operation.argument, cubic, self.fill)
        return translated(image, operation.argument * image.shape[1], cubic, self.fill)

    def _rotated(self, image: np.ndarray, operation: Operation) -> np.ndarray:
        height, width = image.shape[:2]
        a, b, c, d, e, f = affine_matrix(operation, width, height)
        # OpenCV's origin is the centre of the first pixel, Pillow's its corner.
        matrix = np.array([[a, b, c + (a + b - 1) / 2], [d, e, f + (d + e - 1) / 2]])
        return cv2.warpAffine(
            image,
            matrix,
            (width, height),
            flags=self.interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=self.fill,
        )


def _table(image: np.ndarray, operation: Operation) -> np.ndarray:
    """The new value of each level: uint8 [256], or [1, 256, 3] if the channels differ."""
    name, argument = operation
    if name in BY_CHANNEL:
        return np.stack([BY_CHANNEL[name](counts) for counts in _histograms(image)], axis=-1).astype(np.uint8)[None]
    if name == "Contrast":
        levels = _blended(int(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0] + 0.5), argument)
    else:
        levels = LEVELWISE[name](argument)
    return levels.astype(np.uint8)


def _histograms(image: np.ndarray) -> list[np.ndarray]:
    return [cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel().astype(np.int64) for channel in range(3)]


def _stretched(counts: np.ndarray) -> np.ndarray:
    """Pillow's ImageOps.autocontrast of a channel: stretches its levels to 0..255."""
    present = np.flatnonzero(counts)
    low, high = int(present[0]), int(present[-1])
    if low == high:
        return LEVELS
    scale = 255.0 / (high - low)
    return np.clip((LEVELS * scale - low * scale).astype(np.int64), 0, 255)


def _equalized(counts: np.ndarray) -> np.ndarray:
    """Pillow's ImageOps.equalize of a channel, whose step ignores the last level's pixels."""
    present = np.flatnonzero(counts)
    step = int(counts.sum() - counts[present[-1]]) // 255
    if step == 0:
        return LEVELS
    below = np.cumsum(counts) - counts
    return np.minimum((step // 2 + below) // step, 255)


def _blended(ground: int, factor: float) -> np.ndarray:
    """Pillow's Image.blend of a constant with each level: single precision, truncated."""
    mixed = np.float32(ground) + np.float32(factor) * (LEVELS - ground).astype(np.float32)
    return np.clip(mixed, 0, 255).astype(np.int64)


BY_CHANNEL = {"AutoContrast": _stretched, "Equalize": _equalized}
LEVELWISE: dict[str, Callable[[float], np.ndarray]] = {
    "Invert": lambda _: 255 - LEVELS,
    "Posterize": lambda bits: LEVELS & ~(2 ** max(0, 8 - int(bits)) - 1),
    "Solarize": lambda threshold: np.where(threshold > LEVELS, LEVELS, 255 - LEVELS),
    "SolarizeAdd": lambda added: np.where(LEVELS < 128, np.minimum(LEVELS + int(added), 255), LEVELS),
    "Brightness": lambda factor: _blended(0, factor),
}


def _color(image: np.ndarray, factor: float) -> np.ndarray:
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, grey, 1 - factor, CUT_OFF)


def _sharpness(image: np.ndarray, factor: float) -> np.ndarray:
    smooth = cv2.filter2D(image, -1, SMOOTH)
    # Pillow does not smooth the outermost pixels.
    for edge in (np.s_[:1], np.s_[-1:], np.s_[:, :1], np.s_[:, -1:]):
        smooth[edge] = image[edge]
    return cv2.addWeighted(image, factor, smooth, 1 - factor, CUT_OFF)


def _blur(image: np.ndarray, radius: float) -> np.ndarray:
    """Pillow's ImageFilter.GaussianBlur: box blurs with fractional outermost weights, which give the wanted variance."""
    variance = radius**2 / PASSES
    whole = int((np.sqrt(12 * variance + 1) - 1) / 2)
    fraction = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    box = np.array([fraction, *[1.0] * (2 * whole + 1), fraction]) / (2 * (whole + fraction) + 1)
    for _ in range(PASSES):
        image = cv2.sepFilter2D(image, -1, box, box, borderType=cv2.BORDER_REPLICATE)
    return image
