"""The scores by class equal scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from deit.inference.accuracy import Tally
from deit.scores import balanced_accuracy, macro_f1


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_scikit_learns(seed: int) -> None:
    """Also if a class has no images, or is never predicted: 7 of the 8 classes have images, 6 are predicted."""
    random = np.random.default_rng(seed)
    labels, predicted = random.choice(7, 200, p=[0.6, 0.2, 0.1, 0.04, 0.03, 0.02, 0.01]), random.integers(0, 6, 200)
    labels[:7] = range(7)
    tally = Tally(8)
    tally.add(np.eye(8, dtype=np.float32)[predicted], labels)
    assert tally.balanced_accuracy == pytest.approx(100 * balanced_accuracy_score(labels, predicted))
    assert tally.macro_f1 == pytest.approx(100 * f1_score(labels, predicted, average="macro", zero_division=0))


def test_predictions_that_are_not_finite_are_no_predictions() -> None:
    tally = Tally(2)
    tally.add(np.array([[9, 0], [np.nan, 0]], np.float32), np.array([0, 1]))
    assert (tally.balanced_accuracy, tally.macro_f1) == (50.0, 50.0)


def test_without_images_there_are_no_scores() -> None:
    assert math.isnan(macro_f1([0], [0], [0])) and math.isnan(balanced_accuracy([0, 0], [0, 0]))
