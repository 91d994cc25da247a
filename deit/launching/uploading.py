"""The launcher's side of a remote runs_dir: starts the uploader, keeps it alive, waits for it at the end."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from rich.console import Console

from deit.config import frozen
from deit.config.remote import runs_copy
from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.launching.companion import Companion
from deit.runs import status
from deit.runs.directory import RunDirectory, shown
from deit.storage import locks
from deit.storage.folder import LOCK, LOG
from deit.storage.mirror import Mirror, address_of
from deit.tracking import stale

POLL = 0.3  # seconds


class Uploader(Companion):
    """The process ``python -m deit.storage.uploader`` of one run; nothing at all where runs_dir is a folder."""

    name, module = LOG.removesuffix(".log"), "deit.storage.uploader"

    def __init__(self, run: RunDirectory, config: RunConfig) -> None:
        super().__init__(run)
        self._address = address_of(run, config)
        self._limit = config.checkpointing.upload_timeout

    def start(self) -> None:
        """Start the uploader, if there is anything for it to do."""
        if self._address is not None:
            self._begin()

    def finish(self, console: Console) -> None:
        """Wait until all is copied, ``checkpointing.upload_timeout`` seconds at most or until Ctrl-C, and say where it is."""
        if self.process is None:
            return
        end = time.monotonic() + self._limit
        try:
            with console.status(f"copying the rest to {self._address} (Ctrl-C leaves it)"):
                while not (done := self._done()) and time.monotonic() < end:
                    self.watch()
                    time.sleep(POLL)
        except KeyboardInterrupt:
            done = False
        self.stop()
        if done:
            console.print(f"copied to {self._address}", highlight=False, soft_wrap=True, markup=False)
            return
        later = f"python launch.py task=sync run={shlex.quote(str(self.run))}"
        console.print(
            f"{self._address}: not all was copied within checkpointing.upload_timeout={self._limit} s; it stands in "
            f"{self.run}. See {shown(self.run.logs / LOG)}. Copy it later: {later}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )

    def _done(self) -> bool:
        assert self._address is not None
        return not Mirror(self.run, self._address).missing()


def mirrors(config: RunConfig) -> list[Mirror]:
    """The runs that task=sync is about (``run``, else all below ``runs_dir`` that have ended) and that belong into a store."""
    if config.run is not None:
        runs = [RunDirectory(config.run)]
    else:
        runs = stale.newest(Path(runs_copy(config.runs_dir)), limit=None)[::-1]
    found = []
    for run in runs:
        try:
            address = address_of(run, frozen.load(run.config))
        except UserError:  # no run of this program
            continue
        if address is not None and (config.run is not None or status.read(run).ended):
            found.append(Mirror(run, address))
    return found


def catch_up(config: RunConfig, console: Console) -> int:
    """Copy what the stores of those runs do not have, and say so; with ``dry_run`` only count. Returns 1 where that failed."""
    code = 0
    for mirror in mirrors(config):
        missing = len(mirror.missing())
        said = "all is there" if not missing else f"{missing} files are not there yet"
        if missing and not config.dry_run:
            with locks.turn(mirror.run.path / LOCK) as mine:
                mirror.reload()  # its uploader may have copied meanwhile
                try:
                    said = f"{mirror.send()} files copied, all is there" if mine else "its own uploader is at work on it"
                except UserError as error:
                    said, code = str(error), 1
        console.print(f"{mirror.address}: {said}", soft_wrap=True, markup=False)
    return code
