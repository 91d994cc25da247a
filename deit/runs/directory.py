"""The run directory: the only thing that the control side and the workers share.

runs/<name>/<date_time_id>/
    config.yaml        the frozen configuration
    overrides.yaml     the typed overrides
    unused_keys.json   keys of the configuration that this task does not use
    environment.json   commit, versions, host, cards
    journal.jsonl      every metric and event, appended by rank 0: the source of truth
    status.json        state, progress and process of the run, replaced atomically
    stop.json          why a sweep stops this trial, written before its signal
    checkpoints/       complete checkpoints, and best.json that points at the best ones
    logs/              worker_<rank>.log, shipper.log
    bad_images.jsonl   images that could not be used, if data.on_bad_image leaves them out
    data.json          for each split: images, classes, counts, digest
    split.jsonl        the images of both splits, if train/ and val/ or packed data do not say so
    figures/           confusion matrix, reliability, worst images of the best evaluation
    report.html        a page of a finished training, from figures/evaluation_*.json and the journal
    pretrained.json    what was loaded from model.pretrained, name by name
    nonfinite.json     the images of a step with a loss or gradient that was not finite, if that ended the training
    lr_curve.png       the learning rate of a training, drawn before it starts
    profile/           what MindSpore's profiler recorded of hardware.profile steps
    preview_*.png      the pictures of a preview
    models/            each model's part of a comparison; next to it compare.json and the rest of comparison.output_files
    exports/           networks that task=export wrote from this run's checkpoints
    tracking/          what has been sent to MLflow so far
    .partial           in a run that was fetched from a store without its large files: its address there
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from deit.config.addresses import runs_copy
from deit.errors import UserError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # numbers of an OSError: the device, or the user's quota, is full


class Directory:
    """The directory of a run or a sweep."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).resolve()
        self.logs = self.path / "logs"

    @property
    def id(self) -> str:
        """The folder's name, ``20261123_101500_1a2b3c``."""
        return self.path.name

    def __str__(self) -> str:
        """The path for people: relative if it is below the working directory."""
        return shown(self.path)


class RunDirectory(Directory):
    """The paths of the files of a run directory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
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
        self.tracking = self.path / "tracking"
        self.bad_images = self.path / "bad_images.jsonl"
        self.pretrained = self.path / "pretrained.json"
        self.data = self.path / "data.json"
        self.split = self.path / "split.jsonl"
        self.figures = self.path / "figures"
        self.report = self.path / "report.html"
        self.nonfinite = self.path / "nonfinite.json"
        self.exports = self.path / "exports"
        self.lr_curve = self.path / "lr_curve.png"
        self.preview_train = self.path / "preview_train.png"
        self.preview_eval = self.path / "preview_eval.png"
        self.profile = self.path / "profile"
        self.partial = self.path / ".partial"


def shown(path: str | os.PathLike[str]) -> str:
    """A path for messages: relative if it is below the working directory, unless that is the root."""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here)) if here != here.parent and path.is_relative_to(here) else str(path)


def launch_id() -> str:
    """``20261123_101500_1a2b3c``: second and fraction of it (in units of 60 ns), so that names sort by launch."""
    second, rest = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y%m%d_%H%M%S', time.localtime(second))}_{(rest << 24) // 10**9:06x}"


def create(runs_dir: str | os.PathLike[str], name: str) -> RunDirectory:
    """Create a new run directory, for a remote ``runs_dir`` its local copy. Raises UserError if it cannot be created."""
    run = RunDirectory(new_folder(runs_copy(os.fspath(runs_dir)), name))
    for folder in (run.checkpoints, run.logs, run.tracking):
        folder.mkdir()
    return run


def new_folder(runs_dir: str | os.PathLike[str], name: str) -> Path:
    """Create a folder named by a ``launch_id`` in ``runs_dir``/``name``; two launches at the same moment get two folders.

    Raises UserError if it cannot be created.
    """
    parent = Path(runs_dir) / name
    check_new_folder(runs_dir, name)
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
        raise _no_folder(runs_dir, error.filename or parent, error.strerror or str(error)) from None


def check_new_folder(runs_dir: str | os.PathLike[str], name: str) -> None:
    """Raises UserError if ``new_folder`` could make none, as far as that shows without making it."""
    wanted = (Path(runs_dir) / name).absolute()
    there = next(path for path in (wanted, *wanted.parents) if os.path.lexists(path))
    reason = None
    if not there.is_dir():
        reason = os.strerror(errno.ENOTDIR)
    elif not os.access(there, os.W_OK | os.X_OK):
        read_only = os.statvfs(there).f_flag & os.ST_RDONLY
        reason = os.strerror(errno.EROFS if read_only else errno.EACCES)
    if reason is not None:
        raise _no_folder(runs_dir, there, reason)


def _no_folder(runs_dir: str | os.PathLike[str], place: str | os.PathLike[str], reason: str) -> UserError:
    return UserError(f"runs_dir={runs_dir}: no folder can be created there ({place}: {reason}); give another runs_dir=FOLDER.")


def newest(runs_dir: str | os.PathLike[str], limit: int | None = None, *, having: str = "status.json") -> list[RunDirectory]:
    """The ``limit`` newest runs below ``runs_dir``, or all of them, newest first; only those with the file ``having``."""
    # The name of a run directory is the time of its launch, so names sort by launch.
    found = sorted(Path(runs_dir).glob(f"*/*/{having}"), key=lambda path: path.parent.name, reverse=True)
    return [RunDirectory(path.parent) for path in found[:limit]]
