"""Runs that are recorded as running although their launcher and workers are gone: by SIGKILL, or with the machine.

    python -m deit.tracking.stale RUNS_DIR

The launcher starts it beside every run, in the background. It gives such runs of this machine the state ``interrupted``,
then tells MLflow. Runs of other machines are theirs to judge, and a run with any living process is left alone.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deit.config import frozen
from deit.errors import UserError
from deit.machine import locks, processes
from deit.machine.logs import log_to
from deit.runs import status
from deit.runs.circumstances import last_launch
from deit.runs.directory import RunDirectory
from deit.runs.listing import newest
from deit.runs.run_processes import of_run
from deit.tracking import progress
from deit.tracking import uri as store
from deit.tracking.sender import Sender, deliver, own_uri, word_for

_log = logging.getLogger(__name__)

NEWEST = 1000  # runs looked at, so that a folder of years costs no more than one of weeks


def settle(run: RunDirectory) -> bool:
    """Give the run its end if all its processes on this machine are gone; whether it was so.

    Its time stays that of the last sign of life. ValueError where the files are no JSON.
    """
    if not _gone(run):
        return False
    with _held(run) as mine:
        if not mine or not _gone(run):  # it may have been resumed meanwhile
            return False
        now = status.read(run)
        now.state, now.exit_code, now.message = status.INTERRUPTED, 1, status.GONE
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


@contextmanager
def _held(run: RunDirectory) -> Iterator[bool]:
    """The lock a launcher holds as long as it lives; False where one does, be it one this process cannot see."""
    with open(run.path / ".lock", "a") as lock:
        yield locks.take(lock)


def main(arguments: list[str]) -> int:
    """Correct the newest runs of a folder; the exit code: 1 if MLflow could not be updated."""
    if len(arguments) != 1:
        print("usage: python -m deit.tracking.stale RUNS_DIR", file=sys.stderr)
        return 2
    os.nice(10)  # the training comes first
    log_to(sys.stdout)
    settled = []
    for run in newest(Path(arguments[0]), NEWEST):
        try:
            if settle(run):
                _log.info("%s: %s; it is now %s", run.path, status.GONE, status.INTERRUPTED)
                settled.append(run)
        except (OSError, ValueError) as error:  # not writable for us, or no run of this program
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
    # Where a shipper has survived its launcher, it is at this already.
    with progress.turn(run, store.identity(uri), goes_on=lambda: False) as mine:
        problem = deliver(Sender(run, config, uri), word_for(status.read(run))) if mine else None
    if problem:
        _log.warning("%s: MLflow was not updated: %s", run.path, problem)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
