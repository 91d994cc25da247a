"""Whether two samples come from one distribution: the statistic, and what it exceeds by chance once in a thousand times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

CHANCE = 1e-3


def kolmogorov_smirnov(ours: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """The largest distance of the distribution functions, and its critical value."""
    n, m = len(ours), len(reference)
    critical = np.sqrt(-np.log(CHANCE / 2) / 2 * (n + m) / (n * m))
    return float(stats.ks_2samp(ours, reference, method="asymp").statistic), float(critical)


def shares(ours: Sequence[int], reference: Sequence[int]) -> tuple[float, float]:
    """Of counts of the same things in two samples: the chi-squared statistic, and its critical value."""
    counts = np.array([ours, reference])
    counts = counts[:, counts.any(0)]
    statistic = stats.chi2_contingency(counts, correction=False).statistic
    return float(statistic), float(stats.chi2.isf(CHANCE, counts.shape[1] - 1))
