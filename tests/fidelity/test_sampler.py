"""Repeated augmentation against facebookresearch/deit's RASampler, index for index."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fidelity import load
from reference import inputs_sampler as inputs
from reference.packing import checksum

from deit.data.sampler import TrainOrder


@pytest.mark.parametrize("name", inputs.CASES)
def test_repeated_augmentation(name: str, fidelity: Callable[..., None]) -> None:
    n, repeats, world = inputs.CASES[name]
    stored = load("sampler")
    assert checksum([inputs.permutation(n)]) == stored[f"{name}/inputs"]
    different = 0
    for rank in range(world):
        # ImageNet's 160,128 images a rank are 1251 micro batches of 128; the other lengths have no such divisor.
        batch = 128 if world == 8 else 1
        order = TrainOrder(n, seed=inputs.SEED, batch_size=batch, rank=rank, world=world, accumulation_steps=1, repeats=repeats)
        indices, repetitions = order.epoch(inputs.EPOCH)
        assert indices.shape[1] == batch and indices.size == stored[f"{name}/lengths"][rank]
        if world == 8:
            assert order.steps == 1251
        np.testing.assert_array_equal(indices.ravel()[:24], stored[f"{name}/head"][rank])
        # Where a rank sees an image again, it is another repetition, which is drawn from on its own.
        assert len(np.unique(indices * repeats + repetitions)) == indices.size
        different += int(checksum([indices.ravel()])[0] != stored[f"{name}/crc"][rank])
    fidelity(
        f"Repeated augmentation, indices of every rank: {name}",
        section="Sampler",
        reference="FB RASampler",
        tolerance=0,
        measured=different,
        unit="ranks differ",
    )
