"""The lock of a run: only one launcher works on it, also while processes of a killed one still live."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deit.errors import UserError
from deit.machine import locks
from deit.runs.directory import RunDirectory
from deit.runs.run_processes import of_run

GLANCE = 3.0  # seconds; a check whether a run is dead (``deit.tracking.stale``) also takes the lock for a moment
ORPHANS = 120.0  # seconds for the workers of a killed launcher to write a checkpoint and end


@contextmanager
def locked(run: RunDirectory, node_rank: int | None = None, *, patient: bool = True) -> Iterator[None]:
    """Lock the run: no second launcher may work on the same directory, except one on each of several machines.

    ``patient``: wait for a holder that is about to leave. Raises UserError if another process has it.
    """
    with open(run.path / (f".lock_node{node_rank}" if node_rank else ".lock"), "w") as lock:
        if not _comes(lambda: locks.take(lock), GLANCE if patient else 0):
            raise UserError(f"resume={run}: this run is still being worked on by another launch.")
        alive = of_run(run, node_rank)
        if alive and patient:
            print(f"{run}: its launcher was killed; waiting for its processes to end: {alive}", file=sys.stderr)
            _comes(lambda: not of_run(run, node_rank), ORPHANS)
            alive = of_run(run, node_rank)
        if alive:
            raise UserError(f"resume={run}: processes of this run are still alive: {alive}.")
        yield


def _comes(what: Callable[[], bool], within: float) -> bool:
    """Whether ``what`` becomes true within so many seconds."""
    end = time.monotonic() + within
    while not what():
        if time.monotonic() >= end:
            return False
        time.sleep(0.1)
    return True


def held(run: RunDirectory) -> bool:
    """Whether a launcher works on the run, or some process of it is still alive."""
    try:
        with locked(run, patient=False):
            return False
    except UserError:
        return True
