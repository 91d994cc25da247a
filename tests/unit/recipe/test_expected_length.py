"""The expected length of a training, by which trials are ordered."""

from __future__ import annotations

import pytest
from composition import freeze

from deit.recipe.plan import expected_length


def test_expected_length_counts_epochs_size_and_cards() -> None:
    def length(*typed: str) -> float:
        return expected_length(freeze("model=deit_tiny", *typed))

    assert length("schedule.epochs=600", "schedule.cooldown_epochs=20") == pytest.approx(2 * length())
    assert length("hardware=ascend8") == pytest.approx(length() / 8)
    assert length("schedule.max_steps=1") == pytest.approx(1.2545 * 128, rel=1e-3)
    assert length("model=deit_base") > 10 * length()
