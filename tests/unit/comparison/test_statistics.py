"""The statistics of a comparison against published figures and scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from deit.comparison import statistics


def test_wilson_intervals_equal_published_values() -> None:
    # Newcombe, Statistics in Medicine 17:857 (1998), table I, method 3.
    published = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0, 0.1611), (1, 29): (0.0061, 0.1718)}
    for counts, limits in published.items():
        found = statistics.wilson(*counts)
        assert (found.low, found.high) == pytest.approx(limits, abs=5e-5)
    for right, images in ((0, 1), (1, 1), (3, 7), (499, 500), (38_211, 50_000)):
        found, expected = statistics.wilson(right, images), stats.binomtest(right, images).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_intervals_of_paired_differences() -> None:
    # Complete response before and after consolidation (Cavo et al. 2012), in Fagerland, Lydersen and Laake, Statistical
    # Analysis of Contingency Tables (2017), chapter 8: Newcombe's interval -0.1186 to -0.0046.
    found = statistics.paired_difference(59, 6, 16, 80)
    assert (found.low, found.high) == pytest.approx((-0.1186, -0.0046), abs=5e-5)
    turned = statistics.paired_difference(59, 16, 6, 80)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-12)
    # Without a correlation (here a margin of 0) the sides stand at right angles.
    found, one, other = statistics.paired_difference(0, 10, 0, 0), statistics.wilson(10, 10), statistics.wilson(0, 10)
    assert found.low == pytest.approx(1 - np.hypot(1 - one.low, other.high), abs=1e-12)
    equal = statistics.paired_difference(300, 0, 0, 55)
    assert equal.low < 0 < equal.high == -equal.low < 0.01


def test_mcnemar_equals_textbook_and_scipy() -> None:
    # Approval of the president (Agresti 1990), the example of R's mcnemar.test: 16.818, p = 4.115e-05.
    test = statistics.mcnemar(150, 86)
    assert (test.name, test.statistic, test.p) == (
        "chi-squared",
        pytest.approx(16.818, abs=5e-4),
        pytest.approx(4.115e-5, rel=2e-4),
    )
    # Cavo et al. 2012: exact conditional 0.052479. Two culture media (Armitage and Berry 1994): 0.0129.
    for counts, p in (((6, 16), 0.052479), ((12, 2), 0.0129)):
        test = statistics.mcnemar(*counts)
        assert (test.name, test.statistic, test.p) == ("exact", None, pytest.approx(p, abs=5e-5))
    assert statistics.mcnemar(0, 0).p == statistics.mcnemar(4, 4).p == statistics.mcnemar(20, 20).p == 1
    for first, second in itertools.product((0, 1, 5, 12, 13, 40, 700), repeat=2):
        test, number = statistics.mcnemar(first, second), first + second
        if number < 25:
            expected = stats.binomtest(first, number).pvalue if number else 1
        else:
            expected = stats.chi2.sf(max(abs(first - second) - 1, 0) ** 2 / number, 1)
        assert test.p == pytest.approx(expected, rel=1e-9) and test.name == ("exact" if number < 25 else "chi-squared")


def test_holm_and_kappa() -> None:
    assert statistics.holm([0.02, 0.01, 0.04, 0.03]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert statistics.holm([0.9, 0.6]) == [1, 1] and statistics.holm([0.3]) == [0.3]
    for table, expected in (((20, 5, 10, 15), 0.4), ((45, 15, 25, 15), 0.1304), ((25, 35, 5, 35), 0.2593)):
        first, second = np.repeat([[0, 0], [0, 1], [1, 0], [1, 1]], table, axis=0).T
        assert statistics.kappa(first, second) == pytest.approx(expected, abs=5e-5)
    assert statistics.kappa(np.zeros(5, int), np.zeros(5, int)) == 1
