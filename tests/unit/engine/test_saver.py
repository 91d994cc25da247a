"""When checkpoints are written, and errors of the thread that writes them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from prepared_runs import prepared, saver_of

from deit.engine.recorder import Report
from deit.runs import status


def test_error_of_the_writing_thread_is_raised(tmp_path: Path) -> None:
    run = prepared(tmp_path, "error")
    with saver_of(run, Report(run, status.Status())) as saver:
        saver.save(8, lambda: {"model": {"a": np.zeros(3, np.complex64)}}, {"best": {}})  # no type of a checkpoint
        with pytest.raises(KeyError, match="complex64"):
            saver.wait()
    assert list(run.checkpoints.iterdir()) == []


def test_checkpoints_are_due_by_epochs_steps_and_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = ("checkpointing.every=2", "checkpointing.every_steps=5", "checkpointing.every_minutes=0.001")
    run = prepared(tmp_path, "due", *extra)
    now = 0.0
    monkeypatch.setattr("deit.engine.saver.time", SimpleNamespace(monotonic=lambda: now))
    saver = saver_of(run, Report(run, status.Status()))
    assert [step for step in range(33) if saver.due(step)] == [5, 10, 15, 16, 20, 25, 30, 32]
    saver.at(16)
    assert not saver.due(16)
    now = 0.07
    assert saver.due(17) and not saver.due_by_steps(17)
