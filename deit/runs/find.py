"""From what a user types, a directory, ``last`` or an MLflow run id, to a run directory."""

from __future__ import annotations

import re
from pathlib import Path

from deit.config import frozen
from deit.errors import UserError
from deit.runs.directory import RunDirectory


def find_run(text: str, key: str, runs_dir: str, tracking_uri: str | None) -> RunDirectory:
    """The run that ``text``, the value of ``key`` (``run`` or ``resume``), stands for.

    ``last`` is the newest training below ``runs_dir``. Raises UserError where there is none.
    """
    if text == "last":
        return _newest(key, runs_dir)
    if re.fullmatch(r"[0-9a-f]{32}", text) and not Path(text).exists():
        if tracking_uri is None:
            raise UserError(f"{key}={text}: looks like an MLflow run id, but tracking.uri is null. Give the run directory.")
        from deit.tracking.lookup import find_run_directory  # imports MLflow, which takes seconds

        return RunDirectory(find_run_directory(tracking_uri, text))
    run = RunDirectory(text)
    if not run.path.is_dir():
        raise UserError(f"{key}={text}: there is no such directory. Allowed: a run directory, `last`, or an MLflow run id.")
    if not run.config.is_file():
        raise UserError(f"{key}={text}: not a run directory, it holds no config.yaml.")
    return run


def _newest(key: str, runs_dir: str) -> RunDirectory:
    # A run directory's name begins with its date and time, so the order of names is the order of launches.
    candidates = sorted(Path(runs_dir).glob("*/*/config.yaml"), key=lambda path: path.parent.name, reverse=True)
    for path in candidates:
        config = frozen.load(path)
        if config.task.name == "train" and not config.dry_run:
            return RunDirectory(path.parent)
    raise UserError(f"{key}=last: no training run stands in {runs_dir}/. Give a run directory, or runs_dir=.")
