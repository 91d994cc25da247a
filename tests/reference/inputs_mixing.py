"""What is mixed, and the draws that decide how, for timm and for this project."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deit.randomness import generator

SEED = 3
BATCH, SIZE, CLASSES = 4, 11, 5  # an odd size: boxes of odd and even sides, cut off at each border
ROUNDS = 5  # batches of a case


@dataclass(frozen=True)
class Case:
    """Settings of timm's Mixup."""

    mixup: float
    cutmix: float
    mode: str
    prob: float = 1.0
    switch_prob: float = 0.5
    smoothing: float = 0.1


CASES = {f"both {mode}": Case(0.8, 1.0, mode) for mode in ("batch", "pair", "elem")}
CASES |= {f"mixup {mode}": Case(0.8, 0.0, mode, smoothing=0.0) for mode in ("batch", "pair", "elem")}
CASES |= {f"cutmix {mode}": Case(0.0, 1.0, mode, smoothing=0.0) for mode in ("batch", "pair", "elem")}
CASES |= {f"seldom {mode}": Case(0.2, 0.4, mode, prob=0.4, switch_prob=0.8) for mode in ("batch", "pair", "elem")}


def images(number: int) -> np.ndarray:
    """Normalised images float32 [BATCH, 3, SIZE, SIZE]."""
    return generator(SEED, "reference:mixing:images", number).standard_normal((BATCH, 3, SIZE, SIZE), np.float32)


def labels(number: int) -> np.ndarray:
    """int64 [BATCH]."""
    return generator(SEED, "reference:mixing:labels", number).integers(CLASSES, size=BATCH)


@dataclass(frozen=True)
class Draws:
    """For each of the things that get a lambda of their own: all that could be drawn, used or not."""

    applied: np.ndarray  # uniform: applied if below prob
    switched: np.ndarray  # uniform: CutMix if below switch_prob
    mixup: np.ndarray  # lambda of mixup
    cutmix: np.ndarray  # lambda of CutMix
    row: np.ndarray  # uniform: centre of the box
    column: np.ndarray

    @property
    def inputs(self) -> list[np.ndarray]:
        return [self.applied, self.switched, self.mixup, self.cutmix, self.row, self.column]


def draws(case: Case, number: int) -> Draws:
    count = {"batch": 1, "pair": BATCH // 2, "elem": BATCH}[case.mode]
    rng = generator(SEED, f"reference:mixing:draws:{case.mode}", number)
    uniform = rng.random((4, count))
    lambdas = [rng.beta(alpha or 1.0, alpha or 1.0, count) for alpha in (case.mixup, case.cutmix)]
    # timm mixes a batch in double, elements in single precision: the same lambda for both.
    lambdas = [values.astype(np.float32).astype(np.float64) for values in lambdas]
    return Draws(uniform[0], uniform[1], *lambdas, uniform[2], uniform[3])
