"""Lists of class names: the same, in another order, or of another task."""

from __future__ import annotations

import numpy as np
import pytest

from deit.config import class_names
from deit.data.source import ArrayDataset, aligned
from deit.errors import UserError

NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("wanted", "known", "expected"),
    [
        (["a", "b"], ["a", "b"], [0, 1]),
        (["b", "a"], ["a", "b"], [1, 0]),
        ([NFC, "x"], ["x", NFD], [1, 0]),
        (["a", "b"], ["a", "c"], None),
        (["a"], ["a", "b"], None),
        (["a", "a"], ["a", "b"], None),
    ],
)
def test_positions(wanted: list[str], known: list[str], expected: list[int] | None) -> None:
    assert class_names.positions(wanted, known) == expected


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (["a", "b"], ["a", "b"], ""),
        ([NFC], [NFD], ""),
        (["a", "b"], ["b", "a"], "the same names in another order, label 0 is a in the first and b in the second"),
        (["a", "b"], ["a", "z"], "only the first has b; only the second has z"),
        (["a"], ["a", "z"], "1 and 2 classes; only the second has z"),
        ([*"abcdefg"], ["h"], "7 and 1 classes; only the first has a, b, c, d, e and 2 more; only the second has h"),
    ],
)
def test_difference(first: list[str], second: list[str], told: str) -> None:
    assert class_names.difference(first, second) == told


def test_data_follows_the_order_of_the_model() -> None:
    data = ArrayDataset(np.zeros((3, 1, 1, 3), np.uint8), np.array([0, 1, 2]), ["1", "10", "2"], "digits")
    assert aligned(data, None, "run=x") is aligned(data, ["1", "10", "2"], "run=x") is data
    moved = aligned(data, ["1", "2", "10"], "run=x")
    assert moved.classes == ["1", "2", "10"] and list(moved.labels) == [0, 2, 1] and moved.describe(2) == "digits[2]"
    with pytest.raises(UserError, match=r"run=x: was trained on other classes .*only the model has 3; only the data has 2"):
        aligned(data, ["1", "3", "10"], "run=x")
