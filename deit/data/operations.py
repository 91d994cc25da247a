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


def _none(level: float, sign: int, increasing: bool) -> float:
    return 0.0


def _rotate(level: float, sign: int, increasing: bool) -> float:
    return sign * (level * 30.0)


def _posterize(level: float, sign: int, increasing: bool) -> float:
    bits = int(level * 4)
    return 4 - bits if increasing else bits


def _solarize(level: float, sign: int, increasing: bool) -> float:
    threshold = min(256, int(level * 256))
    return 256 - threshold if increasing else threshold


def _solarize_add(level: float, sign: int, increasing: bool) -> float:
    return min(128, int(level * 110))


def _enhance(level: float, sign: int, increasing: bool) -> float:
    return max(0.1, 1.0 + sign * (level * 0.9)) if increasing else level * 1.8 + 0.1


def _shear(level: float, sign: int, increasing: bool) -> float:
    return sign * (level * 0.3)


def _translate(level: float, sign: int, increasing: bool) -> float:
    return sign * (level * 0.45)


def _desaturate(level: float, sign: int, increasing: bool) -> float:
    return min(1.0, 0.5 + 0.5 * level)


def _blur(level: float, sign: int, increasing: bool) -> float:
    return min(2.0, 0.1 + (2.0 - 0.1) * level)


ARGUMENTS: dict[str, Callable[[float, int, bool], float]] = {
    "AutoContrast": _none,
    "Equalize": _none,
    "Invert": _none,
    "Rotate": _rotate,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "Color": _enhance,
    "Contrast": _enhance,
    "Brightness": _enhance,
    "Sharpness": _enhance,
    "ShearX": _shear,
    "ShearY": _shear,
    "TranslateX": _translate,
    "TranslateY": _translate,
    "Desaturate": _desaturate,
    "GaussianBlur": _blur,
}
