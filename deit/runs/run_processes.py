"""The processes of a run, found by an environment variable that each of them has.

msrun starts each worker in its own session, so they do not share a process group.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from deit.runs.directory import RunDirectory

RUN_VARIABLE = "DEIT_RUN_DIRECTORY"  # marks every process of a run, independent of its parent


def run_mark(run: RunDirectory, node_rank: int | None) -> str:
    """The value of RUN_VARIABLE: the run and its node rank, in case two nodes are on one machine."""
    return f"{run.path} node {node_rank}" if node_rank else str(run.path)


def of_run(run: RunDirectory, node_rank: int | None = None) -> list[int]:
    """The living processes of a run (on several machines: those of ``node_rank``) on this machine, except this one."""
    marker = f"{RUN_VARIABLE}={run_mark(run, node_rank)}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if marker in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # it has ended, or belongs to another user
            continue
    return found


def kill_all(run: RunDirectory, node_rank: int | None = None, patience: float = 10.0) -> None:
    """SIGKILL every process of the run, as ``of_run`` finds them, and wait until they are gone."""
    end = time.monotonic() + patience
    while (living := of_run(run, node_rank)) and time.monotonic() < end:
        for pid in living:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)
