"""resume= of a run that has already finished."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from prepared_runs import WEIGHTS, prepared

from deit.config import frozen
from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.preflight.unfinished import check_unfinished
from deit.runs import checkpoint, status
from deit.runs.outcome import FAILED, FINISHED


def finished(tmp_path: Path, state: str, *extra: str) -> RunConfig:
    run = prepared(tmp_path, "finished", *extra)
    checkpoint.write(run, 16, {"model": WEIGHTS}, {"train_images": 256})
    status.write(run, status.Status(state=state))
    return dataclasses.replace(frozen.load(run.config), resume=str(run.path))


def test_resume_of_a_finished_run_needs_a_longer_schedule(tmp_path: Path) -> None:
    config = finished(tmp_path, FINISHED)
    with pytest.raises(UserError, match="already finished step 16 of 16"):
        check_unfinished(config)
    check_unfinished(finished(tmp_path, FAILED))  # killed in its last evaluation
    longer = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, epochs=3))
    check_unfinished(longer)
    shorter = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, max_steps=12))
    with pytest.raises(UserError, match=r"schedule\.max_steps=12 ends the training with step 12, but .* has done 16"):
        check_unfinished(shorter)
