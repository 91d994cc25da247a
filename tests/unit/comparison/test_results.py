"""Pairs of models: verdicts, and the images that both must have."""

from __future__ import annotations

import numpy as np
import pytest

from deit.comparison import results
from deit.comparison.answers import Answers
from deit.errors import UserError


def answered(right: list[bool], names: str = "abcdefghij") -> Answers:
    """Answers to images of class 0; the wrong ones are 1."""
    rank = np.where(right, 0, 1)
    return Answers(np.array(list(names)), np.zeros(len(right), int), rank, rank, np.ones(len(right)))


def test_verdicts_of_pairs_in_words() -> None:
    one, two, three = answered([True] * 8 + [False] * 2), answered([True] * 5 + [False] * 5), answered([False] * 10)
    first, second, third = results.pairs(["a", "b", "c"], [one, two, three])
    assert (first.only_first_right, first.only_second_right, first.p, first.difference) == (3, 0, 0.25, 30)
    assert first.verdict == "not significant, p = 0.25" and first.agreement == 70
    # 2 / 2^8 is below 0.05 for a pair by itself, and after Holm for the first of three.
    assert (second.p, second.p_holm) == (0.0078125, 0.0234375)
    assert second.verdict == "a is better, p = 0.023"
    assert third.p == 0.0625 and third.p_holm == 0.125 and third.verdict == "not significant, p = 0.12"
    assert results.pairs(["a", "b"], [one, one])[0].verdict == "the same prediction for every image"
    assert [results.shown_p(p) for p in (1.0, 0.051, 0.0049, 0.0004)] == ["1.00", "0.051", "0.0049", "< 0.001"]
    with pytest.raises(UserError, match="c was predicted by only one of them") as raised:
        results.check_same_images(["a", "b"], [answered([True] * 2, "ab"), answered([True] * 3, "abc")])
    assert raised.value.exit_code == 1
