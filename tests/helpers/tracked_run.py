"""A run as the launcher and the workers leave it for the shipper; this process is its launcher."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from composition import composed

from deit.config import frozen
from deit.files import write_json
from deit.runs import directory, status
from deit.runs.directory import RunDirectory
from deit.runs.journal import Journal
from deit.runs.outcome import ENDED


@cache
def _quickstart() -> dict[str, Any]:
    return frozen.to_dict(composed("experiment=quickstart"))


def make_run(folder: Path, environment: dict[str, Any], **tracking: Any) -> RunDirectory:
    """A running quickstart in ``folder``, without metrics; ``tracking`` changes the group of that name."""
    values = _quickstart()
    values = values | {
        "tracking": values["tracking"] | {"uri": "sqlite:///mlflow.db", "system_metrics_every": 0} | tracking,
        "runs_dir": str(folder / "runs"),
    }
    run = directory.create(folder / "runs", "quickstart")
    frozen.save(frozen.from_dict(values), run.config)
    run.overrides.write_text(yaml.safe_dump(["experiment=quickstart", f"tracking.uri={values['tracking']['uri']}"]))
    write_json(run.environment, environment)
    set_status(run, status.RUNNING)
    return run


def set_status(run: RunDirectory, state: str, launcher: int | None = None, updated: float | None = None) -> None:
    released = state in ENDED
    status.write(run, status.Status(state=state, launcher_pid=launcher or os.getpid(), released=released), updated=updated)


def write_metrics(run: RunDirectory, steps: range) -> None:
    """Append ``train/loss`` and ``train/lr`` of each step to the journal."""
    writer = Journal(run.journal)
    for step in steps:
        writer.metrics(step, {"train/loss": 3.0 / (step + 1), "train/lr": 1e-3 * step})
    writer.close()
