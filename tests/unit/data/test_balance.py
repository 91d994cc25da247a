"""Unequal classes: quotas, the images of an epoch on any number of ranks, and the weights of classes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from deit.data.balance import Balance, class_weights, quotas
from deit.data.sampler import TrainOrder

COUNTS = np.array([60, 25, 0, 9, 2])
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(5), COUNTS))


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        ("none", COUNTS.tolist()),
        ("sqrt", [43, 28, 0, 17, 8]),  # 96 in the ratio 7.75 : 5 : 3 : 1.41
        ("full", [24, 24, 0, 24, 24]),
    ],
)
def test_quotas(balance: str, expected: list[int]) -> None:
    assert quotas(COUNTS, balance).tolist() == expected


def test_quotas_share_the_rest() -> None:
    assert quotas(np.array([5, 1, 1]), "full").tolist() == [3, 2, 2]


@pytest.mark.parametrize("repeats", [1, 3])
def test_an_epoch_has_the_quota_of_each_class_and_no_image_twice_in_one_form(repeats: int) -> None:
    n = 512
    labels = np.r_[np.zeros(n - 12, np.int64), np.ones(12, np.int64)]
    order = TrainOrder(
        n, seed=1, batch_size=8, rank=0, world=1, accumulation_steps=1, repeats=repeats, balance=Balance(labels, "full", 1)
    )
    indices, repetitions = order.epoch(3)
    rare = labels[indices].mean()
    assert rare == 0.5 if repeats == 1 else 0.4 < rare < 0.6  # three copies each of the first third of the list
    forms = list(zip(indices.ravel().tolist(), repetitions.ravel().tolist(), strict=True))
    assert len(set(forms)) == len(forms) == 512
    if repeats == 1:
        copies = Counter(indices[labels[indices] == 1].tolist())
        assert set(copies.values()) == {21, 22} and len(copies) == 12  # 256 in 12


def test_images_of_a_large_class_take_turns() -> None:
    """24 of 60 in an epoch: in five epochs each exactly twice."""
    balance = Balance(LABELS, "full", 7)
    drawn = [balance.drawn(epoch)[0] for epoch in range(5)]
    seen = Counter(index for images in drawn for index in images.tolist() if LABELS[index] == 0)
    assert set(seen.values()) == {2} and len(seen) == 60
    assert not np.array_equal(np.sort(drawn[0]), np.sort(drawn[1]))
    np.testing.assert_array_equal(drawn[3], Balance(LABELS, "full", 7).drawn(3)[0])  # a function of seed and epoch
    assert not np.array_equal(drawn[0], Balance(LABELS, "full", 8).drawn(0)[0])


def test_ranks_share_the_images_of_one_process() -> None:
    def step(world: int) -> list[int]:
        orders = [
            TrainOrder(
                len(LABELS),
                seed=2,
                batch_size=24 // world,
                rank=rank,
                world=world,
                accumulation_steps=1,
                repeats=1,
                balance=Balance(LABELS, "sqrt", 2),
            )
            for rank in range(world)
        ]
        return [int(index) for order in orders for index in order.epoch(1)[0][2]]

    assert step(1) == step(2) == step(4)


def test_without_balance_counts_are_unchanged() -> None:
    images, before = Balance(LABELS, "none", 0).drawn(4)
    assert sorted(images.tolist()) == list(range(len(LABELS))) and not before.any()


def test_balanced_weights_equal_scikit_learn() -> None:
    found = class_weights(LABELS, 5, "balanced")
    present = [0, 1, 3, 4]
    np.testing.assert_allclose(found[present], compute_class_weight("balanced", classes=np.array(present), y=LABELS), rtol=1e-6)
    assert found[2] == 0


@pytest.mark.parametrize("kind", ["sqrt", "balanced"])
def test_weights_have_the_mean_one_over_the_images(kind: str) -> None:
    weights = class_weights(LABELS, 5, kind)
    assert weights[LABELS].mean() == pytest.approx(1, rel=1e-6)
    power = 0.5 if kind == "sqrt" else 1
    assert weights[4] / weights[0] == pytest.approx(30**power, rel=1e-6)


def test_class_weights_are_none_by_default() -> None:
    assert class_weights(LABELS, 5, "none") is None
