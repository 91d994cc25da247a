"""The launcher's side of a remote runs_dir: starts the uploader, keeps it alive, waits for it at the end."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path

from deit.config import frozen
from deit.config.addresses import runs_copy
from deit.config.schema import RunConfig
from deit.console import console, waiting
from deit.errors import UserError
from deit.installation import program
from deit.machine import locks, signals
from deit.machine.companion import Companion, Place
from deit.runs import directory, status
from deit.runs.directory import RunDirectory, shown
from deit.runs.sweep_directory import FOLDER, SweepDirectory
from deit.storage.mirror_base import LOCK, LOG, Folder
from deit.storage.run_mirror import Mirror, address_of
from deit.storage.sweep_mirror import SweepMirror
from deit.text import line_to_type

POLL = 0.3  # seconds
LAST_FILES = 10.0  # minimum seconds for the files that a sweep writes at its end


class Uploading(Companion):
    """The process ``python -m deit.storage.uploader`` of one run or sweep; nothing if runs_dir is local."""

    name, module = LOG.removesuffix(".log"), "deit.storage.uploader"

    def __init__(self, place: Place, mirror: Folder | None, limit: int, later: str) -> None:
        """``limit``: maximum seconds to wait for the rest; ``later``: arguments of task=sync that copy it later."""
        super().__init__(place)
        self._mirror, self._limit, self._later = mirror, limit, later

    def _left(self) -> float:
        """Maximum seconds to wait for it now."""
        return self._limit

    def start(self) -> None:
        """Start the uploader, if there is anything for it to do."""
        if self._mirror is not None:
            self.place.logs.mkdir(exist_ok=True)
            self._begin()

    def finish(self) -> None:
        """Wait until all is copied, at most ``checkpointing.upload_timeout`` seconds or until a signal; print the address."""
        if self.process is None or self._mirror is None:
            return
        address, end = self._mirror.address, time.monotonic() + self._left()
        with signals.noted() as received, waiting(f"copying the rest to {address} (Ctrl-C skips this)"):
            while not (done := self._done()) and time.monotonic() < end and not received:
                self.watch()
                time.sleep(POLL)
        self.stop()
        if done:
            console().print(f"copied to {address}")
            return
        when = (
            f"before {signal.Signals(received[0]).name}" if received else f"within checkpointing.upload_timeout={self._limit} s"
        )
        console().print(
            f"{address}: not everything was copied {when}; it is in "
            f"{self.place}. See {shown(self.place.logs / LOG)}. Copy it later: {program()} task=sync {self._later}",
        )

    def _done(self) -> bool:
        assert self._mirror is not None
        self._mirror.reload()
        return not self._mirror.missing()


class Uploader(Uploading):
    """The uploader of a run."""

    def __init__(self, run: RunDirectory, config: RunConfig) -> None:
        address = address_of(run, config)
        mirror = None if address is None else Mirror(run, address)
        super().__init__(run, mirror, config.checkpointing.upload_timeout, line_to_type("run", run))


class SweepUploader(Uploading):
    """The uploader of a sweep, and of what its trials have left."""

    def __init__(self, sweep: SweepDirectory) -> None:
        info, address = sweep.read_info(), sweep.address
        mirror = None if address is None else SweepMirror(sweep, address)
        super().__init__(sweep, mirror, info.get("upload_timeout", 0), line_to_type("runs_dir", info.get("runs_dir")))
        self._sweep = sweep

    def _left(self) -> float:
        """A trial has already waited for its own files; the sweep does not wait as long again."""
        ends = [attempt.ended for trial in self._sweep.read_trials() for attempt in trial.attempts if attempt.ended]
        # At most the time since this launch started.
        waited = min(time.time() - max(ends, default=time.time()), time.monotonic() - self._started)
        return max(min(LAST_FILES, self._limit), self._limit - waited)


def mirrors(config: RunConfig) -> Sequence[Folder]:
    """What task=sync copies: ``run``, else below ``runs_dir`` the ended runs and the sweeps.

    Without sweeps that were only fetched for a report: the store may have more of them by now.
    """
    if config.run is not None:
        runs, sweeps = [RunDirectory(config.run)], []
    else:
        folder = Path(runs_copy(config.runs_dir))
        runs = directory.newest(folder)[::-1]
        sweeps = [SweepDirectory(path.parent) for path in sorted(folder.glob(f"{FOLDER}/*/sweep.json"))]
        sweeps = [sweep for sweep in sweeps if sweep.was_worked_on()]
    found: list[Folder] = []
    for run in runs:
        try:
            address = address_of(run, frozen.load(run.config))
        except UserError:  # not a run of this program
            continue
        if address is not None and (config.run is not None or status.read(run).ended):
            found.append(Mirror(run, address))
    found += [SweepMirror(sweep, address) for sweep in sweeps if (address := sweep.address) is not None]
    return found


def catch_up(config: RunConfig) -> int:
    """Copy what the stores lack, and report it; with ``dry_run`` only count. Returns 1 if that failed."""
    code = 0
    for mirror in mirrors(config):
        missing = len(mirror.missing())
        said = "all is there" if not missing else f"{missing} files are still missing"
        if missing and not config.dry_run:
            with locks.turn(mirror.path / LOCK) as mine:
                mirror.reload()  # its uploader may have copied meanwhile
                try:
                    said = _copied(mirror) if mine else "its own uploader is working on it"
                except UserError as error:
                    said, code = str(error), 1
        console().print(f"{mirror.address}: {said}")
    return code


def _copied(mirror: Folder) -> str:
    count, left = mirror.send(), len(mirror.missing())
    return f"{count} files copied, " + (
        f"{left} still missing, their uploaders are working on them" if left else "all is there"
    )
