"""Whether two accuracies on the same images differ, and how sure that is. Pure functions of counts.

Where two models answer the same images their accuracies are not independent: what tells them apart are the images that one
has right and the other wrong (discordant pairs). Sources:

- interval of a proportion: Wilson (1927), recommended by Newcombe, Statistics in Medicine 17:857 (1998)
- interval of a difference of paired proportions: Newcombe, Statistics in Medicine 17:2635 (1998), method 10
- test: McNemar, Psychometrika 12:153 (1947); continuity correction of Edwards (1948); Dietterich, Neural Computation
  10:1895 (1998) recommends it for two classifiers that were trained once
- several pairs: Holm, Scandinavian Journal of Statistics 6:65 (1979)
- agreement beyond chance: Cohen, Educational and Psychological Measurement 20:37 (1960)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95  # of all intervals
ALPHA = 0.05  # of the tests, all pairs of a comparison together
FEW = 25  # discordant pairs below which the exact test is taken, because the chi-squared one is a poor approximation


@dataclass(frozen=True)
class Interval:
    """Limits of a proportion, or of a difference of two."""

    low: float
    high: float


@dataclass(frozen=True)
class Test:
    """``name`` is ``exact`` or ``chi-squared``; ``statistic`` belongs to the second alone. ``p`` is two-sided."""

    name: str
    statistic: float | None
    p: float


def wilson(right: int, images: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval of the proportion ``right / images``."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, weight = right / images, z * z / images
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / images + weight / (4 * images)) / (1 + weight)
    # Rounding would leave 1e-17 where the limit is 0 or 1.
    return Interval(0.0 if right == 0 else middle - half, 1.0 if right == images else middle + half)


def paired_difference(both: int, only_first: int, only_second: int, neither: int, level: float = LEVEL) -> Interval:
    """Newcombe's interval (method 10) of the first proportion less the second, from how many images both, one, none has right.

    The Wilson intervals of the two are put together like the sides of a triangle whose angle is their correlation.
    """
    images = both + only_first + only_second + neither
    first, second = both + only_first, both + only_second
    shares, limits = (first / images, second / images), (wilson(first, images, level), wilson(second, images, level))
    down = [share - limit.low for share, limit in zip(shares, limits, strict=True)]
    up = [limit.high - share for share, limit in zip(shares, limits, strict=True)]
    phi = _correlation(both, only_first, only_second, neither)
    difference = (only_first - only_second) / images

    def third_side(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))

    return Interval(difference - third_side(down[0], up[1]), difference + third_side(up[0], down[1]))


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """The phi coefficient, with the continuity correction that method 10 has for a positive one."""
    images = both + only_first + only_second + neither
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    excess: float = both * neither - only_first * only_second
    if excess > 0:
        excess = max(excess - images / 2, 0)
    return excess / math.sqrt(margins)


def mcnemar(only_first: int, only_second: int) -> Test:
    """McNemar's test of equal accuracies, from how many images only the first and only the second model has right.

    Below ``FEW`` discordant pairs the exact binomial test, else chi-squared with continuity correction.
    """
    discordant = only_first + only_second
    if discordant < FEW:
        fewer = min(only_first, only_second)
        tail = sum(math.comb(discordant, count) for count in range(fewer + 1)) / 2**discordant
        return Test("exact", None, min(1.0, 2 * tail))
    # The correction may not turn a difference of 0 into one of 1.
    statistic = max(abs(only_first - only_second) - 1, 0) ** 2 / discordant
    return Test("chi-squared", statistic, math.erfc(math.sqrt(statistic / 2)))


def holm(values: Sequence[float]) -> list[float]:
    """The p values of several tests, each corrected for all of them by Holm's step-down procedure."""
    adjusted, largest = [0.0] * len(values), 0.0
    for place, number in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - place) * values[number]))
        adjusted[number] = largest
    return adjusted


def kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's kappa of two models' answers, int [N] each: agreement beyond what their frequencies alone would give.

    1 where both always answer the same.
    """
    answers, coded = np.unique(np.concatenate([first, second]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(answers)) for part in np.split(coded.reshape(-1), 2)]
    expected = float(counts[0] @ counts[1]) / len(first) ** 2
    agreement = float(np.mean(first == second))
    return 1.0 if agreement == 1 else (agreement - expected) / (1 - expected)
