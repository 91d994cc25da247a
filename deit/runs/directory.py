"""The run directory: the only thing the control side and the workers share.

runs/<name>/<date_time_id>/
    config.yaml        the frozen configuration
    overrides.yaml     what was typed
    environment.json   commit, versions, host, cards
    journal.jsonl      every metric and event, appended by rank 0: the truth
    status.json        state, progress and process of the run, replaced as a whole
    checkpoints/       complete checkpoints, and best.json that points at the best ones
    logs/              worker_<rank>.log, shipper.log
    pretrained.json    what was taken from model.pretrained, name by name
    lr_curve.png       the learning rate of a training, drawn before it starts
    preview_*.png      what a preview has drawn
    tracking/          what has been sent to MLflow so far
"""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Any


class RunDirectory:
    """Names of the files of a run directory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).resolve()
        self.config = self.path / "config.yaml"
        self.overrides = self.path / "overrides.yaml"
        self.environment = self.path / "environment.json"
        self.journal = self.path / "journal.jsonl"
        self.system_journal = self.path / "system.jsonl"
        self.status = self.path / "status.json"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best.json"
        self.logs = self.path / "logs"
        self.tracking = self.path / "tracking"
        self.pretrained = self.path / "pretrained.json"
        self.lr_curve = self.path / "lr_curve.png"
        self.preview_train = self.path / "preview_train.png"
        self.preview_eval = self.path / "preview_eval.png"

    @property
    def id(self) -> str:
        """The folder's own name, ``20261123_101500_1a2b3c``."""
        return self.path.name

    def __str__(self) -> str:
        """The path as a person would type it: relative where it lies below the working directory."""
        try:
            return str(self.path.relative_to(Path.cwd()))
        except ValueError:
            return str(self.path)


def create(runs_dir: str | os.PathLike[str], name: str) -> RunDirectory:
    """Make a new run directory; two launches in the same second get two."""
    while True:
        run_id = f"{time.strftime('%Y%m%d_%H%M%S')}_{secrets.token_hex(3)}"
        path = Path(runs_dir) / name / run_id
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        run = RunDirectory(path)
        for folder in (run.checkpoints, run.logs, run.tracking):
            folder.mkdir()
        return run


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Replace a JSON file as a whole: a reader sees the old or the new one, never half of one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=False)
        file.write("\n")
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, path)


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None where it does not exist yet."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
