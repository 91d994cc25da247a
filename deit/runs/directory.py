"""The run directory: the only thing the control side and the workers share.

runs/<name>/<date_time_id>/
    config.yaml        the frozen configuration
    overrides.yaml     what was typed
    unused_keys.json   keys of the configuration that this task does not look at
    environment.json   commit, versions, host, cards
    journal.jsonl      every metric and event, appended by rank 0: the truth
    status.json        state, progress and process of the run, replaced as a whole
    stop.json          why a sweep stops this trial, written before its signal
    checkpoints/       complete checkpoints, and best.json that points at the best ones
    logs/              worker_<rank>.log, shipper.log
    bad_images.jsonl   images that could not be used, where data.on_bad_image leaves them out
    data.json          of each split: images, classes, counts, digest
    figures/           confusion matrix and worst-classified images of the best evaluation
    pretrained.json    what was taken from model.pretrained, name by name
    nonfinite.json     the images of a step whose loss or gradient was not finite, where that ended the training
    lr_curve.png       the learning rate of a training, drawn before it starts
    preview_*.png      what a preview has drawn
    models/            of a comparison each model's part; beside it compare.json and the rest of comparison.output_files
    exports/           networks that task=export wrote of this run's checkpoints
    tracking/          what has been sent to MLflow so far
    .partial           in one that was fetched from a store without what is large: its address there
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path

from deit.config.addresses import expanded, runs_copy
from deit.errors import UserError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # numbers of an OSError: the device, or the user's share of it, is full


class RunDirectory:
    """Names of the files of a run directory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).resolve()
        self.config = self.path / "config.yaml"
        self.overrides = self.path / "overrides.yaml"
        self.environment = self.path / "environment.json"
        self.unused_keys = self.path / "unused_keys.json"
        self.journal = self.path / "journal.jsonl"
        self.system_journal = self.path / "system.jsonl"
        self.status = self.path / "status.json"
        self.stop_reason = self.path / "stop.json"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best.json"
        self.logs = self.path / "logs"
        self.tracking = self.path / "tracking"
        self.bad_images = self.path / "bad_images.jsonl"
        self.pretrained = self.path / "pretrained.json"
        self.data = self.path / "data.json"
        self.figures = self.path / "figures"
        self.nonfinite = self.path / "nonfinite.json"
        self.exports = self.path / "exports"
        self.lr_curve = self.path / "lr_curve.png"
        self.preview_train = self.path / "preview_train.png"
        self.preview_eval = self.path / "preview_eval.png"
        self.partial = self.path / ".partial"

    @property
    def id(self) -> str:
        """The folder's own name, ``20261123_101500_1a2b3c``."""
        return self.path.name

    def __str__(self) -> str:
        """The path as a person would type it: relative if it is below the working directory."""
        return shown(self.path)


def shown(path: str | os.PathLike[str]) -> str:
    """A path as messages have it: relative if it is below the working directory, unless that is the root."""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here)) if here != here.parent and path.is_relative_to(here) else str(path)


def launch_id() -> str:
    """``20261123_101500_1a2b3c``: the second, and in its 2^24 parts (60 ns) the moment, so that names sort as the launches."""
    second, rest = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y%m%d_%H%M%S', time.localtime(second))}_{(rest << 24) // 10**9:06x}"


def create(runs_dir: str | os.PathLike[str], name: str) -> RunDirectory:
    """Make a new run directory, that of a remote ``runs_dir`` on this machine. Raises UserError where none can be made."""
    run = RunDirectory(new_folder(runs_copy(os.fspath(runs_dir)), name))
    for folder in (run.checkpoints, run.logs, run.tracking):
        folder.mkdir()
    return run


def new_folder(runs_dir: str | os.PathLike[str], name: str) -> Path:
    """Make a folder called by a ``launch_id`` in ``runs_dir``/``name``; two launches at the same moment get two.

    Raises UserError where it cannot be made.
    """
    parent = Path(runs_dir) / name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            path = parent / launch_id()
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path
    except OSError as error:
        reason = f"{error.filename or parent}: {error.strerror}"
        raise UserError(f"runs_dir={runs_dir}: no folder can be made there ({reason}); give another runs_dir=FOLDER.") from None


def new_file(text: str, key: str, suffixes: Sequence[str], *, otherwise: str = "") -> Path:
    """The file to be written that ``text``, the value of ``key``, names.

    Raises UserError where it has none of the ``suffixes``, is there already, or has no folder; ``otherwise`` is what else
    the message says is allowed.
    """
    path = expanded(text)
    if path.suffix not in suffixes:
        raise UserError(f"{key} is {text!r}; allowed: the name of a {' or '.join(suffixes)} file{otherwise}.")
    if path.exists():
        raise UserError(f"{key} is {text!r}, which exists already; remove it, or give another name.")
    if not path.parent.is_dir():
        raise UserError(f"{key} is {text!r}, but there is no folder {path.parent}; make it first.")
    return path
