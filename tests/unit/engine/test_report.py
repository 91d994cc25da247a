"""The worker's report: progress is one record, and the counts of a phase end with it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deit.engine.pace import Pace
from deit.engine.recorder import Report
from deit.runs import directory, status


def test_progress_counts_end_with_their_phase(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "a")
    report = Report(run, status.Status())
    report.progress(now=True, phase="evaluating", evaluated=0, images=100)
    report.progress(now=True, evaluated=64)
    assert status.read(run).progress == {"phase": "evaluating", "evaluated": 64, "images": 100}
    report.progress(now=True, phase="evaluating EMA", evaluated=0, images=100)
    assert status.read(run).progress["evaluated"] == 0
    report.progress(now=True, phase="training", loss=1.5, images_per_s=10.0, data_wait=0.1)
    assert status.read(run).progress == {"phase": "training", "loss": 1.5, "images_per_s": 10.0, "data_wait": 0.1}
    report.close()


def test_eta_does_not_include_compilation() -> None:
    pace = Pace()
    pace.step(100.0)  # compiles
    assert pace.expected_end(10, 1) is None
    pace.step(2.0)
    pace.step(4.0)
    assert pace.expected_end(10, 1) == pytest.approx(time.time() + 30, abs=5)
    pace.batch(64)  # also an evaluation of one batch, which compiles
    pace.evaluation()
    assert pace.expected_end(10, 3) == pytest.approx(time.time() + 30, abs=5)
    for images in (10, 20, 40):
        pace.batch(images)
    pace.evaluation()
    assert pace.expected_end(0, 10**6) < time.time() + 3600
