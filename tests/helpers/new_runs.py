"""The directory of a run that has not started."""

from __future__ import annotations

from pathlib import Path

from composition import composed

from deit.config import frozen
from deit.runs import directory
from deit.runs.directory import RunDirectory


def new_run(tmp_path: Path, *overrides: str) -> RunDirectory:
    config = composed("experiment=quickstart", *overrides)
    run = directory.create(tmp_path / "runs", config.name)
    frozen.save(config, run.config)
    return run
