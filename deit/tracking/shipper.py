"""The shipper: sends the journal of one run to MLflow, beside the training and never in its way.

    python -m deit.tracking.shipper RUN_DIR

The launcher starts it with the workers, in the launcher's working directory (a relative SQLite path is seen
from there). It reads what the workers append, remembers how far it has come, and repeats whatever was not
accepted; killed and started again, by hand too, it goes on where it was. It ends by itself when the run has
ended and all is sent, or when the launcher and the worker are both gone. SIGTERM gives it two seconds.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from deit.config import frozen
from deit.errors import UserError
from deit.runs import status
from deit.runs.directory import RunDirectory
from deit.runs.journal import now_ms
from deit.tracking import describe, progress, records, store
from deit.tracking.answers import Refused, RunGone, Unavailable
from deit.tracking.system import Sampler

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from deit.tracking.remote import RemoteRun

_log = logging.getLogger(__name__)

POLL = 2.0  # seconds between two looks at the journal
LONGEST_WAIT = 30.0  # seconds between two attempts while MLflow is away
ORPHAN_WAIT = 5.0  # seconds in which a dead launcher's run may be taken over, by resume= for instance
LAST_FLUSH = 2.0  # seconds from SIGTERM to the end

_OUTCOMES = {status.FINISHED: "FINISHED", status.FAILED: "FAILED", status.INTERRUPTED: "KILLED"}


class Shipper:
    """Ships one run. One process does so at a time; ``serve`` waits for its turn."""

    def __init__(self, run: RunDirectory) -> None:
        """Raises UserError where ``run`` holds no configuration, or one without MLflow."""
        self._run = run
        self._config = frozen.load(run.config)
        if self._config.tracking.backend != "mlflow" or self._config.tracking.uri is None:
            raise UserError(f"{run.config}: tracking.backend is {self._config.tracking.backend}; only mlflow is shipped to.")
        self._uri = self._config.tracking.uri
        self._progress = progress.Progress()
        self._remote: RemoteRun | None = None
        self._processes: dict[int, psutil.Process] = {}
        self._orphaned: float | None = None
        self._stopping = False

    def stop(self, *_: Any) -> None:
        """One more attempt, then the end: within two seconds, whatever a call is waiting for.

        Being cut off is harmless: progress is only recorded for what was accepted.
        """
        self._stopping = True
        deadline = threading.Timer(LAST_FLUSH, os._exit, [0])
        deadline.daemon = True
        deadline.start()

    def serve(self) -> None:
        """Ship until the run has ended and everything is sent, or until ``stop``."""
        with open(self._run.tracking / "lock", "w") as lock:
            if not self._take(lock.fileno()):
                return
            self._progress = progress.read(self._run)
            every = self._config.tracking.system_metrics_every
            sampler = Sampler(self._run, every) if every and self._outcome() is None else None
            if sampler:
                sampler.start()
            self._loop(sampler)

    def _take(self, lock: int) -> bool:
        # The shipper of a killed launcher may still be at its last work when the run is resumed.
        waiting = False
        while not self._stopping:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if not waiting:
                    _log.info("another shipper is at work on this run; waiting for it")
                waiting = True
                time.sleep(0.2)
        return False

    def _loop(self, sampler: Sampler | None) -> None:
        failures = 0
        while True:
            # Both are looked at before the journal is: what was written before the end is then read after it.
            stopping, outcome = self._stopping, self._outcome()
            if outcome and sampler:
                sampler.stop()
            try:
                self._ship(outcome)
            except Exception as error:  # whatever it is, the training goes on, and a later attempt may succeed
                failures += 1
                self._report(error, failures)
            else:
                if failures:
                    _log.info("all is sent again, after %d failed attempts", failures)
                failures = 0
                if outcome:
                    _log.info("all is sent; the run is %s", outcome)
                    return
            if stopping:
                _log.info("told to stop; what is not yet sent stays in the run directory")
                return
            self._wait(failures)

    def _wait(self, failures: int) -> None:
        until = time.monotonic() + (POLL if failures == 0 else min(LONGEST_WAIT, 2.0 ** (failures - 1)))
        while time.monotonic() < until and not self._stopping:
            if failures == 0 and status.read(self._run).ended:
                return
            time.sleep(0.1)

    def _report(self, error: Exception, failures: int) -> None:
        # An outage of a night is two lines in the log, not one a minute; an unforeseen error shows where it came from.
        if failures == 1:
            foreseen = isinstance(error, (Unavailable, Refused, RunGone))
            reason = str(error).strip().partition("\n")[0]
            _log.warning("will try again: %s: %s", type(error).__name__, reason, exc_info=None if foreseen else error)

    def _outcome(self) -> str | None:
        """MLflow's word for the end of the run; None while it is alive."""
        now = status.read(self._run)
        if now.ended:
            return _OUTCOMES[now.state]
        # Without a launcher, a worker started by hand for instance, only the worker's own word counts.
        if now.launcher_pid is None or self._alive(now.launcher_pid) or self._alive(now.worker_pid):
            self._orphaned = None
            return None
        if self._orphaned is None:
            self._orphaned = time.monotonic()
        return "KILLED" if time.monotonic() - self._orphaned >= ORPHAN_WAIT else None

    def _alive(self, pid: int | None) -> bool:
        if pid is None:
            return False
        try:
            process = self._processes.get(pid) or self._processes.setdefault(pid, psutil.Process(pid))
            # is_running compares the time of birth: a number used again by another process does not count.
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def _ship(self, outcome: str | None) -> None:
        """Send all there is; ``outcome`` closes the run."""
        from deit.tracking import artifacts  # imports MLflow

        try:
            remote = self._open()
            for name, path in (("journal", self._run.journal), ("system", self._run.system_journal)):
                for batch in records.batches(path, self._progress.offsets[name]):
                    remote.send(batch.points)
                    self._progress.offsets[name] = batch.offset
                    progress.write(self._run, self._progress)
            if outcome:
                remote.end(outcome, self._ended())
            artifacts.put(self._run, self._config, remote, self._progress, final=outcome is not None)
        except RunGone:
            self._remote = None  # the next attempt looks whether it is really gone, and then makes another
            raise

    def _open(self) -> RemoteRun:
        if self._remote is None:
            from deit.tracking import remote as far  # imports MLflow

            client = far.connect(self._uri)
            # First the experiment: where it was deleted with all its runs, to restore it restores this one.
            experiment_id = far.find_experiment(client, self._uri, self._config.tracking.experiment)
            tags = describe.tags(self._run, self._config)
            remote = self._known(client) or self._new(client, experiment_id, tags)
            self._progress.experiment_id, self._progress.run_id = remote.experiment_id, remote.run_id
            progress.write(self._run, self._progress)
            remote.begin()
            remote.describe(describe.params(self._config), tags)
            _log.info("shipping to %s", store.run_url(self._uri, remote.experiment_id, remote.run_id))
            self._remote = remote
        return self._remote

    def _known(self, client: MlflowClient) -> RemoteRun | None:
        """The MLflow run of an earlier attempt; None where there was none, or where it was deleted."""
        from deit.tracking import remote as far

        if self._progress.run_id is None:
            return None
        try:
            return far.RemoteRun(client, self._uri, self._progress.run_id)
        except RunGone:
            _log.warning("run %s was deleted in MLflow; everything is sent again, to a new one", self._progress.run_id)
            self._progress = progress.Progress()
            return None

    def _new(self, client: MlflowClient, experiment_id: str, tags: dict[str, str]) -> RemoteRun:
        """A new MLflow run, or the one made by an attempt that was killed before it could note its id."""
        from deit.tracking import remote as far

        run_id = far.find_run(client, experiment_id, self._run.id, str(self._run.path))
        if run_id:
            return far.RemoteRun(client, self._uri, run_id)
        name = self._config.tracking.run_name or describe.run_name(self._run, self._config.name)
        started = records.first_time(self._run.journal) or now_ms()
        return far.RemoteRun.create(client, self._uri, experiment_id, name, tags, started)

    def _ended(self) -> int:
        # The run ended when its status says so, not when a server was back to hear of it.
        now = status.read(self._run)
        return int(now.updated * 1000) if now.updated else now_ms()


class _Redacted(logging.Formatter):
    """Lines without the credentials that an MLflow message may quote with the URI."""

    def format(self, record: logging.LogRecord) -> str:
        return store.redact(super().format(record))


def main(arguments: list[str]) -> int:
    """Run the shipper of the run directory named by ``arguments``; the exit code."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Redacted("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    if len(arguments) != 1:
        print("usage: python -m deit.tracking.shipper RUN_DIR", file=sys.stderr)
        return 2
    try:
        shipper = Shipper(RunDirectory(Path(arguments[0])))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    signal.signal(signal.SIGTERM, shipper.stop)
    signal.signal(signal.SIGINT, shipper.stop)
    shipper.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
