"""Choosing the checkpoint to resume from."""

from __future__ import annotations

from pathlib import Path

import pytest
from prepared_runs import WEIGHTS, flip, prepared

from deit.engine.recorder import Report
from deit.engine.resume import newest
from deit.errors import UserError
from deit.files import read_json
from deit.runs import checkpoint, status
from deit.runs.journal import read


def test_error_names_all_checkpoints_if_every_one_is_damaged(tmp_path: Path) -> None:
    run = prepared(tmp_path, "none_whole")
    for step in (8, 16):
        flip(checkpoint.write(run, step, {"model": WEIGHTS}, {"best": {}}) / "model.safetensors")
    report = Report(run, status.Status())
    with pytest.raises(UserError, match=r"all checkpoints of .* are damaged") as error:
        newest(run, report, 0, 1)
    assert "step_00000016" in str(error.value) and "step_00000008" in str(error.value)
    assert len(checkpoint.complete(run)) == 2


def test_resume_completes_the_records_of_a_checkpoint_after_a_kill(tmp_path: Path) -> None:
    """Killed between the folder's renaming, best.json and the journal."""
    run = prepared(tmp_path, "undone")
    best = {"val": {"checkpoint": "step_00000008", "step": 8, "top1": 50.0}}
    checkpoint.write(run, 8, {"model": WEIGHTS}, {"best": best})
    report = Report(run, status.Status())
    restored = newest(run, report, 0, 1)
    assert restored is not None and restored.step == 8 and read_json(run.best) == best
    assert [(r["step"], r["best"]) for _, r in read(run.journal)] == [(8, ["val"])]
