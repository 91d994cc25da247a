"""Which swept keys matter, and swept values as numbers or categories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sweeps_on_disk import hostile_grid, make_run, make_sweep

from deit.runs.outcome import FINISHED
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import Trial
from deit.sweeps import trial_results
from deit.sweeps.reporting.importance import importance
from deit.sweeps.reporting.parameters import parameters


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SweepDirectory:
    return hostile_grid(tmp_path_factory.mktemp("sweep"))


def test_swept_values_are_numbers_or_categories(made: SweepDirectory) -> None:
    rate, augment, seed = parameters(trial_results.read(made))
    assert rate.numeric and rate.log and rate.levels == [1e-4, 5e-4, 1e-3, 5e-3, 1.0]
    assert not augment.numeric and not seed.numeric


def test_importance_finds_what_matters(made: SweepDirectory) -> None:
    found = importance(trial_results.read(made))
    assert found.reason is None and found.r2 is not None and found.r2 > 0.5 and found.trials == 16
    assert list(found.shares) == ["optim.base_lr", "augment", "seed"] and found.shares["optim.base_lr"] > 0.8
    assert sum(found.shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("count", "values", "told"),
    [
        (6, float, "2 keys need at least 8 finished trials, there are 6"),
        (16, lambda i: float((i * 7919) % 13), "no better than their mean"),
        (16, lambda i: 5.0, "is the same in all finished trials"),
    ],
    ids=["too few", "noise", "constant"],
)
def test_importance_is_empty_without_enough_evidence(
    tmp_path: Path, count: int, values: Callable[[int], float], told: str
) -> None:
    run = make_run(tmp_path)
    swept = [{"a.x": str(i % 4), "a.y": "pq"[i // 4 % 2]} for i in range(count)]
    trials = [Trial(i, [], swept[i], str(run.path), str(i), 1, FINISHED, None, [values(i)]) for i in range(count)]
    found = importance(trial_results.read(make_sweep(tmp_path, trials)))
    assert not found.shares and told in (found.reason or "")
