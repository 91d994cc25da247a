"""Runs that are recorded as running although their launcher and workers are gone, after a SIGKILL or a crash of the machine.

    python -m deit.tracking.stale RUNS_DIR

The launcher starts it in the background with every run. It sets such runs of this machine to ``interrupted``, and updates
MLflow. Runs of other machines, and runs with any living process, are left alone.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from pathlib import Path

from deit.config import frozen
from deit.errors import UserError
from deit.machine import locks, processes
from deit.machine.logs import log_to
from deit.runs import status
from deit.runs.circumstances import last_launch
from deit.runs.directory import RunDirectory, newest
from deit.runs.outcome import gone
from deit.runs.run_processes import of_run
from deit.tracking import progress
from deit.tracking import uri as store
from deit.tracking.sender import Sender, deliver, own_uri

_log = logging.getLogger(__name__)

NEWEST = 1000  # runs checked, so that a folder of years takes no longer than one of weeks


def settle(run: RunDirectory) -> bool:
    """Mark the run as ended if all its processes on this machine are gone; returns whether they were.

    Its time stays that of its last update. Raises ValueError if its files are not JSON.
    """
    if not _gone(run):
        return False
    with locks.turn(run.path / ".lock") as mine:  # a launcher holds it, perhaps one that this process cannot see
        if not mine or not _gone(run):  # it may have been resumed meanwhile
            return False
        now = status.read(run)
        now.outcome = gone()
        status.write(run, now, updated=now.updated)
    return True


def _gone(run: RunDirectory) -> bool:
    now = status.read(run)
    if now.ended or not run.status.exists() or last_launch(run).get("host") != socket.gethostname():
        return False
    named = [pid for pid in (now.launcher_pid, now.worker_pid) if pid is not None]
    if not named:  # a trial that waits for its next start
        return False
    return not any(processes.find(pid, now.updated) for pid in named) and not of_run(run)


def main(arguments: list[str]) -> int:
    """Correct the newest runs of a folder; returns the exit code: 1 if MLflow could not be updated."""
    if len(arguments) != 1:
        print("usage: python -m deit.tracking.stale RUNS_DIR", file=sys.stderr)
        return 2
    os.nice(10)  # the training comes first
    log_to(sys.stdout)
    settled = []
    for run in newest(Path(arguments[0]), NEWEST):
        try:
            if settle(run):
                _log.info("%s: %s; it is now %s", run.path, gone().message, gone().state)
                settled.append(run)
        except (OSError, ValueError) as error:  # not writable, or not a run of this program
            _log.warning("%s: %s", run.path, error)
    return max([_tell(run) for run in settled], default=0)


def _tell(run: RunDirectory) -> int:
    try:
        config = frozen.load(run.config)
        if not config.task.tracked or config.tracking.backend == "none":
            return 0
        uri = own_uri(run, config)
    except UserError as error:
        _log.warning("%s", error)
        return 1
    # A shipper that has survived its launcher is already doing this.
    with progress.turn(run, store.identity(uri)) as mine:
        problem = deliver(Sender(run, config, uri), status.read(run).outcome) if mine else None
    if problem:
        _log.warning("%s: MLflow was not updated: %s", run.path, problem)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
