"""The operations of the augmentation policies, and what a magnitude means to each.

``ops_pil`` and ``ops_opencv`` apply them to pixels; this module needs no image library, so that a configuration can be checked
without one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

SCALE = 10.0  # magnitudes are tenths: at 10 an operation has its full effect


class Operation(NamedTuple):
    """One operation on an image.

    ``argument`` is degrees counter-clockwise for Rotate, bits kept for Posterize (none: black; 8 or more: all), the threshold
    for Solarize, levels added for SolarizeAdd, the enhancement factor for Color, Contrast, Brightness and Sharpness, the slope
    for ShearX and ShearY, the fraction of the width or height for TranslateX and TranslateY, the fraction of colour removed for
    Desaturate, the radius in pixels for GaussianBlur, and unused for AutoContrast, Equalize and Invert.
    """

    name: str
    argument: float


def argument(name: str, level: float, sign: int, increasing: bool) -> float:
    """The argument of an operation at magnitude ``level``, with the sign already drawn (timm's LEVEL_TO_ARG).

    ``increasing`` is timm's ...Increasing variant, whose effect grows with the level. Levels above 10 are limited as in timm
    1.0.31; timm 0.3.2 has no such levels.
    """
    return ARGUMENTS[name](level / SCALE, sign, increasing)


def _posterize(level: float, sign: int, increasing: bool) -> float:
    bits = int(level * 4)
    return 4 - bits if increasing else bits


def _solarize(level: float, sign: int, increasing: bool) -> float:
    threshold = min(256, int(level * 256))
    return 256 - threshold if increasing else threshold


def _enhance(level: float, sign: int, increasing: bool) -> float:
    return max(0.1, 1.0 + sign * (level * 0.9)) if increasing else level * 1.8 + 0.1


# By the level from 0 to 1, the sign, and whether the effect grows with the level.
ARGUMENTS: dict[str, Callable[[float, int, bool], float]] = {
    **dict.fromkeys(("AutoContrast", "Equalize", "Invert"), lambda level, sign, increasing: 0.0),
    "Rotate": lambda level, sign, increasing: sign * (level * 30.0),
    "Posterize": _posterize,
    "Solarize": _solarize,
    "SolarizeAdd": lambda level, sign, increasing: min(128, int(level * 110)),
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), _enhance),
    **dict.fromkeys(("ShearX", "ShearY"), lambda level, sign, increasing: sign * (level * 0.3)),
    **dict.fromkeys(("TranslateX", "TranslateY"), lambda level, sign, increasing: sign * (level * 0.45)),
    "Desaturate": lambda level, sign, increasing: min(1.0, 0.5 + 0.5 * level),
    "GaussianBlur": lambda level, sign, increasing: min(2.0, 0.1 + (2.0 - 0.1) * level),
}
