"""Probabilities and the most likely classes."""

from __future__ import annotations

import numpy as np

from deit.inference.likeliest import likeliest, probabilities


def test_ties_are_in_the_order_of_the_classes_and_large_logits_do_not_overflow() -> None:
    shares = probabilities(np.array([[1000, 1000, 0], [0, np.nan, 1], [0, np.inf, 1]], np.float32))
    assert shares[0].tolist() == [0.5, 0.5, 0] and np.isnan(shares[1:]).all()
    assert likeliest(shares[:1], 2).tolist() == [[0, 1]]
    assert likeliest(shares[:1], 9).tolist() == [[0, 1, 2]]
