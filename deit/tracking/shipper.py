"""The shipper: sends the journal of one run to MLflow, next to the training and without delaying it.

    python -m deit.tracking.shipper RUN_DIR

The launcher starts it with the workers, in the launcher's working directory, to which a relative SQLite path is relative. It
reads what the workers append, records its progress, and repeats what was not accepted; started again after a kill, also by
hand, it resumes. It exits when the run has ended and all is sent, or when launcher and worker are both gone. SIGTERM gives it
two seconds.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import psutil

from deit.config import frozen
from deit.errors import UserError
from deit.machine import companion_main, processes
from deit.runs import status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import Outcome, gone
from deit.secrets import with_credentials
from deit.tracking import progress, uri
from deit.tracking.mlflow_errors import Refused, RunGone, Unavailable
from deit.tracking.sender import Sender, own_uri
from deit.tracking.system import Sampler

_log = logging.getLogger(__name__)

POLL = 2.0  # seconds between two looks at the journal
LONGEST_WAIT = 30.0  # seconds between two attempts while MLflow is unreachable
ABANDONED = 600.0  # seconds for which a shipper without a launcher tries to reach MLflow after the end of the run
ORPHAN_WAIT = 5.0  # seconds in which a dead launcher's run may be resumed
LAST_FLUSH = 2.0  # seconds from SIGTERM to the end


class Shipper:
    """Ships one run. One process at a time does so; ``serve`` waits for its turn."""

    def __init__(self, run: RunDirectory) -> None:
        """Raises UserError if ``run`` has no configuration, or one without MLflow."""
        self._run = run
        self._config = frozen.load(run.config)
        self._uri = with_credentials(own_uri(run, self._config))
        self._processes: dict[int, psutil.Process] = {}
        self._orphaned: float | None = None
        self._stopping = False

    def stop(self, *_: Any) -> None:
        """One more attempt, then exit, within two seconds even if a call blocks.

        This is harmless: progress is only recorded for what was accepted.
        """
        self._stopping = True
        companion_main.end_within(LAST_FLUSH)

    def serve(self) -> None:
        """Ship until the run has ended and everything is sent, or until ``stop``."""
        told = False

        def goes_on() -> bool:
            # The shipper of a killed launcher may still be running when the run is resumed.
            nonlocal told
            if not told:
                _log.info("another shipper is working on this run; waiting for it")
            told = True
            return not self._stopping

        with progress.turn(self._run, uri.identity(self._uri), goes_on) as mine:
            if not mine:
                return
            every = self._config.tracking.system_metrics_every
            sampler = Sampler(self._run, every) if every and self._outcome() is None else None
            if sampler:
                sampler.start()
            self._loop(Sender(self._run, self._config, self._uri), sampler)

    def _loop(self, sender: Sender, sampler: Sampler | None) -> None:
        failures = 0
        abandoned: float | None = None  # since when no process of the run is left
        while True:
            # Read before the journal, so that everything written before the end is read after it.
            stopping, outcome, ending = self._stopping, self._outcome(), progress.ending(status.read(self._run))
            if outcome and sampler:
                sampler.stop()
            try:
                sender.send(outcome)
            except Exception as error:  # any error: the training continues, and a later attempt may succeed
                failures += 1
                self._report(error, failures)
                sender.in_trouble(error)
            else:
                if failures:
                    _log.info("all is sent again, after %d failed attempts", failures)
                failures = 0
                if outcome and self._is_last(ending):
                    _log.info("all is sent; the run is %s", outcome.mlflow_status)
                    return
            if stopping:
                _log.info("stopped; unsent metrics stay in the run directory")
                return
            if outcome and not self._alive(status.read(self._run).launcher_pid):
                abandoned = abandoned or time.monotonic()
                if time.monotonic() - abandoned > ABANDONED:
                    _log.info("neither MLflow nor the launcher is running; unsent metrics stay in the run directory")
                    return
            self._wait(failures)

    def _is_last(self, ending: str) -> bool:
        """Wait for the launcher, which may change the end that the worker recorded; returns whether it did not."""
        while not self._stopping:
            now = status.read(self._run)
            if progress.ending(now) != ending:
                return False
            if now.released or not self._alive(now.launcher_pid):
                break
            time.sleep(0.1)
        return True

    def _wait(self, failures: int) -> None:
        until = time.monotonic() + (POLL if failures == 0 else min(LONGEST_WAIT, 2.0 ** (failures - 1)))
        while time.monotonic() < until and not self._stopping:
            if failures == 0 and status.read(self._run).ended:
                return
            time.sleep(0.1)

    def _report(self, error: Exception, failures: int) -> None:
        # An outage of a night is two lines in the log, not one per minute; an unexpected error has a traceback.
        if failures == 1:
            foreseen = isinstance(error, (Unavailable, Refused, RunGone, UserError))
            reason = str(error).strip().partition("\n")[0]
            _log.warning("will try again: %s: %s", type(error).__name__, reason, exc_info=None if foreseen else error)

    def _outcome(self) -> Outcome | None:
        """How the run ended; None while it is alive."""
        now = status.read(self._run)
        if now.outcome is not None:
            return now.outcome
        # Without a launcher (a worker started by hand) only the worker's own status counts.
        if now.launcher_pid is None or self._alive(now.launcher_pid) or self._alive(now.worker_pid):
            self._orphaned = None
            return None
        if self._orphaned is None:
            self._orphaned = time.monotonic()
        return gone() if time.monotonic() - self._orphaned >= ORPHAN_WAIT else None

    def _alive(self, pid: int | None) -> bool:
        if pid is None:
            return False
        process = self._processes.get(pid)
        if process is None:
            process = processes.find(pid, status.read(self._run).updated)
            if process is not None:
                self._processes[pid] = process
        return process is not None and processes.alive(process)


if __name__ == "__main__":
    sys.exit(companion_main.serve("deit.tracking.shipper", lambda folder: Shipper(RunDirectory(folder)), sys.argv[1:]))
