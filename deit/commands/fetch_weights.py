"""``task=fetch_weights``: bring an official weight file into weights_dir, once, where there is a network.

It starts no worker, needs no MindSpore and creates no run directory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from deit.commands.task import Task
from deit.compose.unused_keys import Unused
from deit.config.addresses import expanded
from deit.config.schema import RunConfig
from deit.config.tasks import FetchWeightsTask
from deit.console import console
from deit.errors import UserError, nearest
from deit.files import sha256
from deit.machine import locks
from deit.progress_bar import progress_bars
from deit.runs.directory import shown
from deit.storage import https_download
from deit.text import byte_size
from deit.weights import recorded_sums
from deit.weights.official import OFFICIAL, Official, of_model

LOCK = ".fetching"  # in weights_dir


class FetchWeights(Task[FetchWeightsTask]):
    is_trial = False
    takes = ()
    instead = "it fetches official weights alone."

    def rules(self, config: RunConfig) -> list[str]:
        name, names = self.of(config).official, ", ".join(OFFICIAL)
        if name is None and of_model(config.model.name) is None:
            return [f"model.name is {config.model.name}, which has no official weights. Give task.official=NAME: {names}."]
        if name is not None and name not in OFFICIAL:
            return [f"task.official is {name}, which is no official name.{nearest(name, OFFICIAL)} Allowed: {names}."]
        return []

    def unused(self, found: Unused) -> None:
        found.all_but("model")  # the option says which weights
        found.with_task("name", "seed", "runs_dir")

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:
        https_download.check_address(self._url(config), "task.url")
        return config

    def outline(self, config: RunConfig, *, starts: bool) -> None:
        target = _target(config, self._entry(config))
        if target.is_file():
            console().print(f"would compare {shown(target)}, which is there, with its SHA-256")
        else:
            console().print(f"would fetch {self._url(config)} (about {self._entry(config).megabytes} MB) into {shown(target)}")

    def run(self, config: RunConfig, typed: list[str]) -> int:
        """Fetch the file, or check the one that is there. Returns the exit code, 0, or 130 after Ctrl-C.

        Raises UserError, with the file to bring, if there is no network.
        """
        entry, url = self._entry(self.prepare(config)), self._url(config)
        target = _target(config, entry)
        try:
            with _alone(target.parent):
                digest = _checked(entry, target) if target.is_file() else _fetch(entry, url, target)
        except KeyboardInterrupt:
            console().print(f"stopped; the same command resumes {shown(target)}.part")
            return 130
        console().print(f"{shown(target)}: {byte_size(target.stat().st_size)}, {_told(entry, digest)}")
        if entry.model is not None:
            console().print(f"use it: model={entry.model} model.pretrained={entry.name}")
        return 0

    def _entry(self, config: RunConfig) -> Official:
        name = self.of(config).official
        entry = of_model(config.model.name) if name is None else OFFICIAL[name]
        assert entry is not None  # a rule
        return entry

    def _url(self, config: RunConfig) -> str:
        entry, mirror = self._entry(config), self.of(config).url
        return entry.url if mirror is None else f"{mirror.rstrip('/')}/{entry.file_name}"


def _target(config: RunConfig, entry: Official) -> Path:
    return expanded(config.weights_dir).absolute() / entry.file_name


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The folder, for this process alone; a new one is removed if nothing came into it. Raises UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LOCK).touch()
    except OSError as error:
        raise UserError(f"weights_dir={folder}: cannot be written ({error.strerror}).") from None
    try:
        with locks.alone(folder / LOCK, _waiting):
            yield
    finally:
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            with contextlib.suppress(OSError):  # another process has come
                folder.rmdir()


def _waiting(holder: str) -> None:
    console().print(f"waits for {holder}, which fetches weights into the same folder")


def _fetch(entry: Official, url: str, target: Path) -> str:
    """Returns the SHA-256. Nothing has the name of the target before it is complete and compared."""
    console().print(f"fetches {url} (about {entry.megabytes} MB) into {shown(target)}")
    with progress_bars(byte_sizes=True) as bars:
        bar = bars.add(entry.name, None)
        try:
            part = https_download.download(url, target, bar.set)
        except https_download.Unreachable as error:
            starts = f" Its SHA-256 starts with {entry.sha256}." if entry.sha256 else ""
            raise UserError(
                f"{url} cannot be reached: {error}. Download it on another machine (about {entry.megabytes} MB), and "
                f"copy it to {target}.{starts}",
                exit_code=1,
            ) from None
    digest = sha256(part)
    if wrong := _difference(entry, target, digest):
        https_download.remove_part(target)
        raise UserError(f"{url}: {wrong} It was removed.", exit_code=1)
    os.replace(part, target)
    https_download.remove_part(target)
    recorded_sums.record(target, digest)
    return digest


def _checked(entry: Official, target: Path) -> str:
    """The SHA-256 of a file that is there. Raises UserError if it is another one."""
    digest = sha256(target)
    if wrong := _difference(entry, target, digest):
        raise UserError(f"{target}: {wrong} Remove it to fetch it again.", exit_code=1)
    recorded_sums.record(target, digest)
    return digest


def _difference(entry: Official, target: Path, digest: str) -> str:
    """What is wrong with a file of this SHA-256; empty if nothing is known against it."""
    if entry.sha256 is not None and not digest.startswith(entry.sha256):
        return f"its SHA-256 starts with {digest[:8]}, that of the official file with {entry.sha256}: damaged, or another file."
    known = recorded_sums.recorded(target)
    if known not in (None, digest):
        file = target.with_name(recorded_sums.FILE)
        return f"its SHA-256 is {digest}, but {shown(file)} has {known} from the first download; remove that line to accept it."
    return ""


def _told(entry: Official, digest: str) -> str:
    if entry.sha256 is None:
        return f"SHA-256 {digest}, recorded in {recorded_sums.FILE}; the authors publish none"
    return f"SHA-256 {digest}, which starts as published"


TASK = FetchWeights()
