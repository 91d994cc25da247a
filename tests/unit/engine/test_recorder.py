"""The worker's record: an error in a log does not end a run."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
from prepared_runs import events, prepared

from deit.engine.recorder import Report
from deit.runs import status


def test_warning_is_recorded_if_the_log_is_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepared(tmp_path, "warned")
    report = Report(run, status.Status())
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        report.warn("checkpoint_failed", 8, "no room")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
    report.close()
    assert [event["step"] for event in events(run, "checkpoint_failed")] == [8]
