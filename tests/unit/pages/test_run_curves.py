"""Metrics of a training over its epochs."""

from __future__ import annotations

import math
from pathlib import Path

from deit.pages import run_curves
from deit.runs import directory
from deit.runs.journal import Journal


def test_steps_become_epochs_and_nan_is_left_out(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "run")
    assert run_curves.read(run, ["val/top1"]) == {}
    log = Journal(run.journal)
    log.metrics(10, {"val/top1": 50.0})
    assert run_curves.read(run, ["val/top1"]) == {}  # no epoch is known yet
    log.metrics(20, {"train/epoch": 2.0, "train/loss": math.nan, "val/top1": 60.0})
    log.close()
    assert run_curves.read(run, ["val/top1", "train/loss", "other"]) == {"val/top1": [(1.0, 50.0), (2.0, 60.0)]}
