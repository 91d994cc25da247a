"""The worker's reports to the control side: the journal and the status file. Only rank 0 reports.

The thread that writes checkpoints reports too, hence the lock. A full disk does not end the run: the journal's records wait in
memory, and only the newest progress matters.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from deit.runs import status
from deit.runs.directory import DISK_FULL, RunDirectory
from deit.runs.journal import Journal

REFRESH = 0.5  # seconds between two updates of the live progress
COUNTS = ("evaluated", "images")  # done in the current phase, and in total
NOTICES = 50  # maximum warnings on the console; the journal and the log have all


class Report:
    """Metrics, events and progress of one run."""

    def __init__(self, run: RunDirectory, status_now: status.Status) -> None:
        self._run, self._status = run, status_now
        self._journal = Journal(run.journal)
        self._next_refresh = 0.0
        self._lock = threading.RLock()

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        with self._lock:
            self._journal.metrics(step, metrics)

    def event(self, event: str, step: int, **details: Any) -> None:
        with self._lock:
            self._journal.event(event, step, **details)

    def checkpoint(self, step: int, path: str, best: list[str]) -> None:
        with self._lock:
            self._journal.checkpoint(step, path, best)

    @property
    def last_checkpoint(self) -> int:
        """The step of the newest checkpoint in the journal, -1 without one."""
        return self._journal.last_checkpoint

    def sync(self) -> None:
        """Make the journal survive a power failure. Raises OSError if the disk is full."""
        with self._lock:
            self._journal.flush()
        self._journal.sync()

    def warn(self, event: str, step: int, message: str, **details: Any) -> None:
        """Print a warning that must not be missed: as an event, in the log, and on the console."""
        _say(f"warning: {message}")
        self.event(event, step, message=message, **details)
        with self._lock:  # the thread of the checkpoints warns, too
            notices = self._status.progress.get("notices", [])
            self.progress(now=True, notices=[*notices, message][:NOTICES])

    def progress(self, *, now: bool = False, **values: Any) -> None:
        """Update the live display; written at most twice a second, unless ``now``.

        Values that belong together go into one call: between two calls the display may show only the first.
        """
        with self._lock:
            progress = self._status.progress
            if values.get("phase", progress.get("phase")) != progress.get("phase"):
                for counted in COUNTS:  # they belong to the previous phase
                    progress.pop(counted, None)
            progress.update(values)
            if now or time.monotonic() >= self._next_refresh:
                self._next_refresh = time.monotonic() + REFRESH
                try:
                    status.write(self._run, self._status)
                except OSError as error:
                    if error.errno not in DISK_FULL:
                        raise

    def results(self, results: Mapping[str, Any]) -> None:
        """Set the results of the task."""
        self._status.results = dict(results)

    def close(self) -> None:
        try:
            self._journal.close()
        except OSError as error:
            _say(f"warning: the end of {self._run.journal} is lost: {error.strerror}")


def _say(text: str) -> None:
    """Write into the log, which may be on the full disk."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise


class Mute(Report):
    """The report of the other ranks."""

    last_checkpoint = -1

    def __init__(self) -> None:
        pass

    def _nothing(self, *values: Any, **more: Any) -> None:
        pass

    metrics = event = checkpoint = sync = warn = progress = results = close = _nothing
