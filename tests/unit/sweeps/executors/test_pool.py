"""The cards that the trials of a sweep share."""

from __future__ import annotations

import pytest

from deit.sweeps.executors.pool import CardPool


def test_pool_gives_adjacent_cards_and_keeps_large_gaps() -> None:
    pool = CardPool(range(8))
    assert pool.take(2) == [0, 1]
    assert pool.take(1) == [2]  # out of the smallest gap that has room
    assert pool.take(4) == [4, 5, 6, 7]
    assert pool.take(2) is None and pool.take(1) == [3]
    pool.give_back([4, 5, 6, 7])
    pool.give_back([1])
    assert pool.take(1) == [1]
    assert pool.take(2, wanted=[6, 7]) == [6, 7] and pool.take(1, wanted=[6]) is None
    assert pool.take(2) == [4, 5] and not pool.free


def test_pool_gives_separate_cards_if_there_are_no_adjacent_ones() -> None:
    pool = CardPool([0, 3, 5, 6])
    assert pool.take(2, without={0}) == [3, 5]
    assert pool.take(3) is None and pool.take(2) == [0, 6]


def test_card_cannot_be_given_back_twice() -> None:
    pool = CardPool(range(4))
    pool.take(3)
    with pytest.raises(AssertionError):
        pool.give_back([3])
