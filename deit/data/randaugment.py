"""RandAugment (Cubuk et al., 2019) as timm defines it: the policy's text, and its random draws.

A policy such as ``rand-m9-mstd0.5-inc1`` is parsed once; for each image it draws a few operations with their arguments. The
grammar is that of timm 1.0.31, plus ``w0`` of timm 0.3.2; where the two differ (``inc0``, which 0.3.2 reads as inc1) it follows
the newer one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deit.data.operations import SCALE, Operation, argument
from deit.errors import UserError

if TYPE_CHECKING:  # the control side checks policies, and NumPy takes longer than all its checks
    import numpy as np

# In timm's order. The number is the weight in timm 0.3.2's weight set 0.
WEIGHTS_0 = {
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
OPERATIONS = tuple(WEIGHTS_0)
# timm 1.0.31's sets of operations, all increasing; None means equal probability.
SETS: dict[str, dict[str, float | None]] = {
    "3a": dict.fromkeys(("Solarize", "Desaturate", "GaussianBlur")),
    "3aw": {
        **dict.fromkeys(("Solarize", "Desaturate", "GaussianBlur"), 6),
        "Rotate": 3,
        **dict.fromkeys(("ShearX", "ShearY"), 2),
        **dict.fromkeys(("Posterize", "AutoContrast", "Color", "Sharpness", "Contrast", "Brightness", "Equalize", "Invert"), 1),
    },
    "weights": {
        "Rotate": 3,
        **dict.fromkeys(("ShearX", "ShearY"), 2),
        **dict.fromkeys(("TranslateX", "TranslateY"), 1),
        **dict.fromkeys(("Color", "Sharpness", "AutoContrast"), 0.25),
        **dict.fromkeys(("Solarize", "SolarizeAdd", "Contrast", "Brightness", "Equalize", "Posterize", "Invert"), 0.05),
    },
}
GRAMMAR = (
    "rand, then any of -mM (magnitude, a whole number, default 10), -nN (operations per image, 1..99, default 2), "
    "-pP (probability of each drawn operation to be applied, default 0.5), -mstdS (standard deviation of the magnitude, "
    "default 0; inf or above 100 draws it uniformly from 0 to M), -mmaxX (largest magnitude, default 10, to which larger ones "
    "are cut), "
    "-inc0 or -inc1 (inc1: all effects grow with the magnitude, default inc0), -w0 (weights of timm 0.3.2, without "
    f"replacement) or -tSET (timm 1's sets {', '.join(SETS)}, all inc1), each at most once"
)
NUMBER = r"\d+(\.\d+)?|\.\d+"
PARTS = {
    "m": re.compile(r"\d\d?"),
    "n": re.compile(r"[1-9]\d?"),
    "p": re.compile(r"0|1|[01]\.0+|0?\.\d+"),
    "mstd": re.compile(rf"{NUMBER}|inf"),
    "mmax": re.compile(r"[1-9]\d?"),
    "inc": re.compile(r"[01]"),
    "w": re.compile(r"0"),
    "t": re.compile("|".join(SETS)),
}
# The longest key first, since `mstd` and `mmax` begin with `m`.
PART = re.compile(rf"({'|'.join(sorted(PARTS, key=len, reverse=True))})(.*)")


@dataclass(frozen=True)
class RandAugment:
    """A parsed policy."""

    magnitude: float = SCALE
    layers: int = 2
    probability: float = 0.5
    magnitude_std: float = 0.0  # infinite: uniform from 0 to the magnitude
    magnitude_max: float = SCALE
    increasing: bool = False
    operations: tuple[str, ...] = OPERATIONS
    weights: tuple[float, ...] | None = None  # with weights, operations are drawn without replacement

    def draw(self, rng: np.random.Generator) -> list[Operation]:
        """The operations for one image, in order of application (timm's RandAugment, AugmentOp)."""
        if self.weights is None:
            chosen = rng.integers(len(self.operations), size=self.layers)
        else:
            import numpy as np

            chances = np.array(self.weights) / np.sum(self.weights)
            chosen = rng.choice(len(self.operations), self.layers, replace=False, p=chances)
        drawn = []
        for number in chosen:
            if rng.random() < self.probability:
                level = min(self.magnitude_max, max(0.0, self._level(rng)))
                sign = -1 if rng.random() < 0.5 else 1
                name = self.operations[number]
                drawn.append(Operation(name, argument(name, level, sign, self.increasing)))
        return drawn

    def _level(self, rng: np.random.Generator) -> float:
        if math.isinf(self.magnitude_std):
            return rng.uniform(0, self.magnitude)
        return rng.normal(self.magnitude, self.magnitude_std)


def parse_randaugment(text: str) -> RandAugment:
    """The policy of a text. Raises UserError for what is not in its grammar."""
    _, *parts = text.split("-")
    values: dict[str, str] = {}
    for part in parts:
        found = PART.fullmatch(part)
        if found is None or not PARTS[found[1]].fullmatch(found[2]) or found[1] in values:
            raise _refused(text, f"part {part!r} is not understood")
        values[found[1]] = found[2]
    for other in ("w", "inc"):
        if "t" in values and values.get(other) == "0":
            raise _refused(text, f"part 't{values['t']}', a set of increasing operations, contradicts '{other}0'")
    deviation = float(values.get("mstd", 0))
    operations, weights = _choices(values)
    policy = RandAugment(
        magnitude=float(values.get("m", SCALE)),
        layers=int(values.get("n", 2)),
        probability=float(values.get("p", 0.5)),
        magnitude_std=math.inf if deviation > 100 else deviation,
        magnitude_max=float(values.get("mmax", SCALE)),
        increasing=values.get("inc") == "1" or "t" in values,
        operations=operations,
        weights=weights,
    )
    drawable = sum(weight > 0 for weight in weights or ())
    if weights is not None and policy.layers > drawable:
        raise _refused(text, f"part 'n{policy.layers}' is more than the {drawable} operations drawn without replacement")
    return policy


def _choices(values: dict[str, str]) -> tuple[tuple[str, ...], tuple[float, ...] | None]:
    """The operations of a policy with these parts, and their weights."""
    if "t" in values:
        chosen = SETS[values["t"]]
        return tuple(chosen), tuple(weight for weight in chosen.values() if weight is not None) or None
    return OPERATIONS, tuple(WEIGHTS_0.values()) if "w" in values else None


def _refused(text: str, problem: str) -> UserError:
    return UserError(f"augment.auto_augment is {text!r}, whose {problem}; allowed: {GRAMMAR}.")
