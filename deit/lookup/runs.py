"""From what a user types (a directory, ``last`` or an MLflow run id) to a run directory."""

from __future__ import annotations

import re
from pathlib import Path

from deit.config import frozen
from deit.config.addresses import expanded, is_remote
from deit.errors import UserError
from deit.runs.checkpoint import run_of_checkpoint
from deit.runs.directory import RunDirectory, newest

EXPORT = "model.json"  # marks a folder of task=export
RUN_ID = re.compile("[0-9a-f]{32}")  # of MLflow


def find_run(text: str, key: str, runs_dir: str, tracking_uri: str | None) -> RunDirectory:
    """The run of ``text``, the value of ``key`` (``run`` or ``resume``).

    ``last`` is the newest training below ``runs_dir``. A run in a store is fetched to this machine; one that was fetched
    without its checkpoints is completed. Raises UserError if there is none.
    """
    if is_remote(text) or (text == "last" and is_remote(runs_dir)):
        from deit.storage.fetch_run import fetch_run, newest_run  # late: imports the store's library

        return fetch_run(newest_run(runs_dir, key) if text == "last" else text, key)
    if text == "last":
        return _newest(key, runs_dir)
    if RUN_ID.fullmatch(text) and not Path(text).exists():
        if tracking_uri is None:
            raise UserError(f"{key}={text}: looks like an MLflow run id, but tracking.uri is null. Give the run directory.")
        from deit.lookup.mlflow import find_run_directory  # late: imports MLflow, which takes seconds

        return _whole(RunDirectory(find_run_directory(tracking_uri, text)), key)
    run = RunDirectory(text)
    if not run.path.is_dir():
        raise UserError(f"{key}={text}: no such directory. Allowed: a run directory, `last`, or an MLflow run id.")
    if not run.config.is_file():
        raise UserError(f"{key}={text}: not a run directory, config.yaml is missing.{_rather(run.path, key)}")
    return _whole(run, key)


def _whole(run: RunDirectory, key: str) -> RunDirectory:
    """The run with its checkpoints, even if it was fetched without them for a report; otherwise it would start again."""
    if not run.partial.exists():
        return run
    from deit.storage.fetch_run import fetch_run  # late: imports the store's library

    return fetch_run(run.partial.read_text(encoding="utf-8"), key)


def _rather(path: Path, key: str) -> str:
    """What a folder that is no run directory is, and which key takes it."""
    run = run_of_checkpoint(path)
    if run is not None:
        which = ", and task.which=best or last" if key == "run" else ""
        return f" It is a checkpoint of the run {run}; give {key}={run}{which}."
    if (path / EXPORT).is_file():
        return " It is a folder of task=export, for task.model= and task.models=."
    return ""


def run_behind(text: str, key: str, runs_dir: str, tracking_uri: str | None) -> tuple[RunDirectory, Path | None] | None:
    """The run of ``text``, and the path if it is a checkpoint folder of the run or a file in one.

    None if it is no run, such as a weight file. Raises UserError as ``find_run`` does.
    """
    if is_remote(text):
        return find_run(text, key, runs_dir, tracking_uri), None
    path = expanded(text)
    if text == "last" or (path / "config.yaml").is_file() or (RUN_ID.fullmatch(text) and not path.exists()):
        return find_run(str(path), key, runs_dir, tracking_uri), None
    run = run_of_checkpoint(path.resolve())
    return None if run is None else (run, path.resolve())


def _newest(key: str, runs_dir: str) -> RunDirectory:
    for run in newest(runs_dir, having="config.yaml"):
        config = frozen.load(run.config)
        if config.task.is_training and not config.dry_run:
            return run
    raise UserError(f"{key}=last: no training run found in {runs_dir}/. Give a run directory, or runs_dir=.")
