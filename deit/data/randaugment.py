"""RandAugment (Cubuk et al., 2019) as timm 0.3.2 defines it: the policy's text, and what it draws.

A policy such as ``rand-m9-mstd0.5-inc1`` is parsed once; for each image it draws a few operations with
their arguments. What an operation does to pixels is the business of ``ops_pil`` and ``ops_opencv``.
Parsing needs no image library, so that a configuration can be checked without one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deit.errors import UserError

MOST = 10.0  # the largest magnitude
PROBABILITY = 0.5  # of each drawn operation to be applied

# In timm's order. The number is the weight of weight set 0.
OPERATIONS = {
    "AutoContrast": 0.025,
    "Equalize": 0.005,
    "Invert": 0.0,
    "Rotate": 0.3,
    "Posterize": 0.0,
    "Solarize": 0.005,
    "SolarizeAdd": 0.005,
    "Color": 0.025,
    "Contrast": 0.005,
    "Brightness": 0.005,
    "Sharpness": 0.025,
    "ShearX": 0.2,
    "ShearY": 0.2,
    "TranslateX": 0.1,
    "TranslateY": 0.1,
}
WEIGHTED = sum(weight > 0 for weight in OPERATIONS.values())
GRAMMAR = (
    "allowed: rand, then any of -mM (magnitude, a whole number 0..10, default 10), -nN (operations an image, 1..99, "
    "default 2), -mstdS (standard deviation of the magnitude, default 0), -inc0 or -inc1 (inc1: all effects grow with the "
    f"magnitude, default inc0), -w0 (timm's weights of the operations, without replacement, n up to {WEIGHTED}), "
    "each at most once"
)
PARTS = {
    "m": re.compile(r"\d|10"),
    "n": re.compile(r"[1-9]\d?"),
    "mstd": re.compile(r"\d+(\.\d+)?|\.\d+"),
    "inc": re.compile(r"[01]"),
    "w": re.compile(r"0"),
}


class Operation(NamedTuple):
    """One operation on an image.

    ``argument`` is degrees counter-clockwise for Rotate, bits kept for Posterize, the threshold for
    Solarize, levels added for SolarizeAdd, the factor of the enhancement for Color, Contrast, Brightness
    and Sharpness, the slope for ShearX and ShearY, the share of the width or height for TranslateX and
    TranslateY, and without meaning for AutoContrast, Equalize and Invert.
    """

    name: str
    argument: float


@dataclass(frozen=True)
class Policy:
    """A parsed policy; ``increasing`` is inc1, ``weighted`` is w0."""

    magnitude: float = MOST
    operations: int = 2
    magnitude_std: float = 0.0
    increasing: bool = False
    weighted: bool = False

    def draw(self, rng: np.random.Generator) -> list[Operation]:
        """The operations for one image, in the order in which they are applied.

        Each of ``operations`` draws is applied with probability 0.5. Only the weighted choice is without
        replacement (timm's RandAugment).
        """
        names = list(OPERATIONS)
        if self.weighted:
            weights = np.array(list(OPERATIONS.values()))
            chosen = rng.choice(len(names), self.operations, replace=False, p=weights / weights.sum())
        else:
            chosen = rng.integers(len(names), size=self.operations)
        drawn = []
        for number in chosen:
            if rng.random() < PROBABILITY:
                level = min(MOST, max(0.0, rng.normal(self.magnitude, self.magnitude_std)))
                sign = -1 if rng.random() < 0.5 else 1
                drawn.append(Operation(names[number], argument(names[number], level, sign, self.increasing)))
        return drawn


def parse_policy(text: str) -> Policy:
    """The policy that ``augment.auto_augment`` spells. Raises UserError for what is not in its grammar."""
    first, *parts = text.split("-")
    values: dict[str, str] = {}
    for part in parts:
        key = part.rstrip("0123456789.")
        value = part[len(key) :]
        if key not in PARTS or not PARTS[key].fullmatch(value) or key in values:
            raise _not_a_policy(text, f"part {part!r}")
        values[key] = value
    if first != "rand":
        raise _not_a_policy(text, f"beginning {first!r}")
    policy = Policy(
        magnitude=float(values.get("m", MOST)),
        operations=int(values.get("n", 2)),
        magnitude_std=float(values.get("mstd", 0)),
        increasing=values.get("inc") == "1",
        weighted="w" in values,
    )
    if policy.weighted and policy.operations > WEIGHTED:
        raise _not_a_policy(text, f"part 'n{policy.operations}' with w0")
    return policy


def _not_a_policy(text: str, part: str) -> UserError:
    return UserError(f"augment.auto_augment is {text!r}, whose {part} is not understood; {GRAMMAR}.")


def argument(name: str, level: float, sign: int, increasing: bool) -> float:
    """The argument of an operation at ``level`` 0..10 (timm's LEVEL_TO_ARG, with the sign already drawn)."""
    return ARGUMENTS[name](level / MOST, sign, increasing)


def _none(level: float, sign: int, increasing: bool) -> float:
    return 0.0


def _rotate(level: float, sign: int, increasing: bool) -> float:
    return sign * (level * 30.0)


def _posterize(level: float, sign: int, increasing: bool) -> float:
    bits = int(level * 4)
    return 4 - bits if increasing else bits


def _solarize(level: float, sign: int, increasing: bool) -> float:
    threshold = int(level * 256)
    return 256 - threshold if increasing else threshold


def _solarize_add(level: float, sign: int, increasing: bool) -> float:
    return int(level * 110)


def _enhance(level: float, sign: int, increasing: bool) -> float:
    return 1.0 + sign * (level * 0.9) if increasing else level * 1.8 + 0.1


def _shear(level: float, sign: int, increasing: bool) -> float:
    return sign * (level * 0.3)


def _translate(level: float, sign: int, increasing: bool) -> float:
    return sign * (level * 0.45)


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
}
