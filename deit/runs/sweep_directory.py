"""The directory of a sweep: its definition and the outcome of each trial.

runs/sweeps/<date_time_id>/
    sweep.json      command line, working directory, code version; the settings of the sweep
    trials.jsonl    a line for each trial (``deit.runs.trial_record.Trial``), rewritten after each event
    study.db        Optuna's study, for a search
    summary.csv  summary.md  report.html    generated at the end and by task=report
    logs/           of the uploader, if runs_dir is in a store

The runs of the trials are in runs/<name>/, like all runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deit.config.addresses import is_remote, runs_copy
from deit.errors import UserError
from deit.files import read_json, write_json, write_text
from deit.machine import locks, processes
from deit.runs.directory import Directory, new_folder
from deit.runs.trial_record import Trial

FOLDER = "sweeps"  # below runs_dir


class SweepDirectory(Directory):
    """The paths of the files of a sweep's directory; the runs of the trials have its ``id`` in MLflow as ``sweep.id``."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.info = self.path / "sweep.json"
        self.trials = self.path / "trials.jsonl"
        self.study = self.path / "study.db"
        self.summary_csv = self.path / "summary.csv"
        self.summary_md = self.path / "summary.md"
        self.report = self.path / "report.html"
        self.lock = self.path / ".lock"

    @property
    def files(self) -> tuple[Path, ...]:
        """The files to upload to a store, whether they exist or not."""
        return (self.info, self.trials, self.study, self.summary_csv, self.summary_md, self.report)

    @property
    def address(self) -> str | None:
        """The address it is copied to; None if runs_dir is local."""
        runs_dir = self.read_info().get("runs_dir") or ""  # older sweeps did not record it
        return f"{runs_dir.rstrip('/')}/{FOLDER}/{self.id}" if is_remote(runs_dir) else None

    def read_info(self) -> dict[str, Any]:
        return dict(read_json(self.info))

    def write_info(self, info: dict[str, Any]) -> None:
        write_json(self.info, info)

    def read_trials(self) -> list[Trial]:
        """All trials, by number; empty before the first was written."""
        if not self.trials.exists():
            return []
        return [Trial.from_dict(json.loads(line)) for line in self.trials.read_text(encoding="utf-8").splitlines()]

    def write_trials(self, trials: Sequence[Trial]) -> None:
        """Replace ``trials.jsonl`` atomically."""
        write_text(self.trials, "".join(json.dumps(trial.to_dict()) + "\n" for trial in trials))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the sweep: only one launch works on it. Raises UserError if another does."""
        with open(self.lock, "a") as lock:
            if not locks.take(lock):
                raise UserError(f"sweep.resume={self}: this sweep is still being worked on by another launch.")
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def is_worked_on(self) -> bool:
        """Whether the last process that locked the sweep is alive."""
        try:
            return processes.find(int(self.lock.read_text()), self.lock.stat().st_mtime) is not None
        except (OSError, ValueError):
            return False

    def was_worked_on(self) -> bool:
        """Whether a launch on this machine has ever locked it; otherwise it was only fetched from a store."""
        return self.lock.is_file() and self.lock.stat().st_size > 0


def create(runs_dir: str | os.PathLike[str]) -> SweepDirectory:
    """Create the directory of a new sweep. Raises UserError if it cannot be created."""
    return SweepDirectory(new_folder(runs_copy(os.fspath(runs_dir)), FOLDER))
