"""The directory of a sweep: what was asked for, and what became of each trial.

runs/sweeps/<date_time_id>/
    sweep.json      what was typed, where, by which code; the settings of the sweep
    trials.jsonl    a line for each trial (``deit.runs.trial_record.Trial``), rewritten after each event
    study.db        of a search: Optuna's record of it
    summary.csv  summary.md  report.html    made from all this, at the end and by task=report
    logs/           of the uploader, where runs_dir is in a store

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
from deit.runs.directory import new_folder, shown
from deit.runs.trial_record import Trial

FOLDER = "sweeps"  # below runs_dir


class SweepDirectory:
    """Names of the files of a sweep's directory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).resolve()
        self.info = self.path / "sweep.json"
        self.trials = self.path / "trials.jsonl"
        self.study = self.path / "study.db"
        self.summary_csv = self.path / "summary.csv"
        self.summary_md = self.path / "summary.md"
        self.report = self.path / "report.html"
        self.logs = self.path / "logs"
        self.lock = self.path / ".lock"

    @property
    def id(self) -> str:
        """The folder's own name; the runs of the trials carry it in MLflow as the tag ``sweep.id``."""
        return self.path.name

    @property
    def files(self) -> tuple[Path, ...]:
        """What belongs into a store, there or not."""
        return (self.info, self.trials, self.study, self.summary_csv, self.summary_md, self.report)

    @property
    def address(self) -> str | None:
        """Where it is copied to; None where its runs_dir is a folder."""
        runs_dir = self.read_info().get("runs_dir") or ""  # sweeps of earlier days did not note it
        return f"{runs_dir.rstrip('/')}/{FOLDER}/{self.id}" if is_remote(runs_dir) else None

    def __str__(self) -> str:
        """The path as a person would type it: relative if it is below the working directory."""
        return shown(self.path)

    def read_info(self) -> dict[str, Any]:
        return dict(read_json(self.info))

    def write_info(self, info: dict[str, Any]) -> None:
        write_json(self.info, info)

    def read_trials(self) -> list[Trial]:
        """All trials, by number; none before the first was written."""
        if not self.trials.exists():
            return []
        return [Trial.from_dict(json.loads(line)) for line in self.trials.read_text(encoding="utf-8").splitlines()]

    def write_trials(self, trials: Sequence[Trial]) -> None:
        """Replace ``trials.jsonl`` as a whole: a reader, or a kill -9, finds the old or the new one."""
        write_text(self.trials, "".join(json.dumps(trial.to_dict()) + "\n" for trial in trials))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the sweep: one launch works on it at a time. Raises UserError where another does."""
        with open(self.lock, "a") as lock:
            if not locks.take(lock):
                raise UserError(f"sweep.resume={self}: this sweep is still being worked on by another launch.")
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def is_worked_on(self) -> bool:
        """Whether the process that held the sweep last is alive."""
        try:
            return processes.find(int(self.lock.read_text()), self.lock.stat().st_mtime) is not None
        except (OSError, ValueError):
            return False

    def was_worked_on(self) -> bool:
        """Whether a launch of this machine has ever held it: one that was only fetched is what it is in the store."""
        return self.lock.is_file() and self.lock.stat().st_size > 0


def create(runs_dir: str | os.PathLike[str]) -> SweepDirectory:
    """Make the directory of a new sweep. Raises UserError where none can be made."""
    return SweepDirectory(new_folder(runs_copy(os.fspath(runs_dir)), FOLDER))
