"""Ranks and sums over them, in one process."""

from __future__ import annotations

import pytest

from deit.engine import distributed


def test_single_process_is_rank_0_of_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MS_ROLE", raising=False)
    assert distributed.join() == (0, 1) and not distributed.under_msrun() and not distributed.is_scheduler()
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    assert distributed.under_msrun() and distributed.is_scheduler()
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    assert distributed.under_msrun() and not distributed.is_scheduler()


def test_sums_are_split_into_float32_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 ranks with the same numbers; the all-reduce adds float32."""

    class Shared:
        def __init__(self, values: object) -> None:
            self.values = values

        def asnumpy(self) -> object:
            return self.values

    monkeypatch.setattr(distributed, "Tensor", Shared)
    monkeypatch.setattr(distributed, "_all_sum", lambda: lambda sent: Shared((sent.values * 256).astype("float32")))
    counts = [0, 1, 65_535, 1_281_167, 16_777_217, 99_999_999]
    assert distributed.sum_over_ranks(counts, 256) == [256.0 * count for count in counts]
    assert distributed.sum_over_ranks([0.1], 256)[0] == pytest.approx(25.6, rel=1e-7)
    assert distributed.sum_over_ranks([0.1, 2], 1) == [0.1, 2]
