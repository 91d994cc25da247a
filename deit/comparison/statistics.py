"""Statistical tests for two accuracies on the same images. Pure functions of counts.

Two models on the same images do not have independent accuracies: they differ only in the images that one classifies correctly
and the other does not (discordant pairs). Sources:

- interval of a proportion: Wilson (1927), recommended by Newcombe, Statistics in Medicine 17:857 (1998)
- interval of a difference of paired proportions: Newcombe, Statistics in Medicine 17:2635 (1998), method 10
- test: McNemar, Psychometrika 12:153 (1947); continuity correction of Edwards (1948); Dietterich, Neural Computation
  10:1895 (1998) recommends it for two classifiers that were trained once
- means over seeds: Student's interval, Welch's test, Biometrika 34:28 (1947); two proportions: Fisher's exact test
- several pairs: Holm, Scandinavian Journal of Statistics 6:65 (1979)
- agreement beyond chance: Cohen, Educational and Psychological Measurement 20:37 (1960)
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95  # of all intervals
ALPHA = 0.05  # of the tests, all pairs of a comparison together
FEW = 25  # discordant pairs below which the exact test is used, because the chi-squared one is a poor approximation


@dataclass(frozen=True)
class Interval:
    """Limits of a proportion, or of a difference of two."""

    low: float
    high: float


@dataclass(frozen=True)
class Test:
    """``name`` is ``exact`` or ``chi-squared``, which alone has a ``statistic``. ``p`` is two-sided."""

    name: str
    statistic: float | None
    p: float


def wilson(right: int, images: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval of the proportion ``right / images``."""
    from scipy.stats import binomtest  # late: takes half a second

    limits = binomtest(right, images).proportion_ci(level, method="wilson")
    return Interval(float(limits.low), float(limits.high))


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's interval of the mean of at least two ``values``."""
    from scipy.stats import t

    half = float(t.ppf((1 + level) / 2, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return Interval(mean - half, mean + half)


def welch(first: Sequence[float], second: Sequence[float]) -> float:
    """The two-sided p of Welch's t-test for equal means of two samples with at least two values each."""
    from scipy.stats import ttest_ind

    if statistics.pvariance(first) == statistics.pvariance(second) == 0:
        return float(statistics.fmean(first) == statistics.fmean(second))
    return float(ttest_ind(first, second, equal_var=False).pvalue)


def fisher(first_right: int, first_images: int, second_right: int, second_images: int) -> float:
    """The two-sided p of Fisher's exact test for equal proportions.

    For two models on the same images it is conservative: it does not know which images both classify correctly.
    """
    from scipy.stats import fisher_exact

    table = [[first_right, first_images - first_right], [second_right, second_images - second_right]]
    return float(fisher_exact(table).pvalue)


def paired_difference(both: int, only_first: int, only_second: int, neither: int, level: float = LEVEL) -> Interval:
    """Newcombe's interval (method 10) of the first proportion minus the second, from the counts of images that both, one, or
    none classifies correctly.

    The two Wilson intervals are combined like the sides of a triangle whose angle is their correlation.
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
    """The phi coefficient, with method 10's continuity correction for a positive one."""
    images = both + only_first + only_second + neither
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    excess: float = both * neither - only_first * only_second
    if excess > 0:
        excess = max(excess - images / 2, 0)
    return excess / math.sqrt(margins)


def mcnemar(only_first: int, only_second: int) -> Test:
    """McNemar's test of equal accuracies, from the counts of images that only one of the models classifies correctly.

    Below ``FEW`` discordant pairs the exact binomial test, else chi-squared with continuity correction.
    """
    from scipy.stats import binomtest, chi2

    discordant = only_first + only_second
    if discordant < FEW:
        return Test("exact", None, 1.0 if discordant == 0 else float(binomtest(only_first, discordant).pvalue))
    # The correction must not turn a difference of 0 into one of 1.
    statistic = max(abs(only_first - only_second) - 1, 0) ** 2 / discordant
    return Test("chi-squared", statistic, float(chi2.sf(statistic, 1)))


def holm(values: Sequence[float]) -> list[float]:
    """The p values of several tests, each corrected for all of them by Holm's step-down procedure."""
    adjusted, largest = [0.0] * len(values), 0.0
    for place, number in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - place) * values[number]))
        adjusted[number] = largest
    return adjusted


def kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's kappa of two models' predictions, int [N] each: agreement beyond what their frequencies alone would give.

    1 if both always agree.
    """
    answers, coded = np.unique(np.concatenate([first, second]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(answers)) for part in np.split(coded.reshape(-1), 2)]
    expected = float(counts[0] @ counts[1]) / len(first) ** 2
    agreement = float(np.mean(first == second))
    return 1.0 if agreement == 1 else (agreement - expected) / (1 - expected)
