"""Processes of a run: starting them so that none outlives the launcher, and ending all of them.

msrun puts each worker into a session of its own, so a process group does not hold them together. Every
process of a run carries the variable DEIT_RUN_DIRECTORY instead, and is found by it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil

from deit.launching.worker_command import RUN_VARIABLE, run_mark
from deit.machine.lifeline import end_with_parent
from deit.runs.directory import RunDirectory

CLOCK = 2.0  # seconds by which the kernel's time of a birth and the wall clock may differ


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    death_signal: int | None,
    folder: Path | None = None,
    shielded: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, its output appended to ``log``.

    It gets ``death_signal`` when the launcher dies, even by SIGKILL; ``folder`` is where it works. ``shielded``: it begins
    with SIGTERM ignored, which a batch system may send to every process of a job; the launcher has its own ways to end it.
    """
    with open(log, "ab") as output:
        return subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=partial(_prepare, death_signal, shielded, os.getpid()),
        )


def _prepare(death_signal: int | None, shielded: bool, parent: int) -> None:
    """What a new process does before it becomes the command."""
    if shielded:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if death_signal is not None:
        end_with_parent(death_signal, parent)


def of_run(run: RunDirectory, node_rank: int | None = None) -> list[int]:
    """The living processes of a run (of several machines: those of ``node_rank``) on this machine, other than this one."""
    marker = f"{RUN_VARIABLE}={run_mark(run, node_rank)}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if marker in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # gone meanwhile, or another user's
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


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    if not log.exists():
        return ""
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def find(pid: int | None, seen: float) -> psutil.Process | None:
    """The living process that had the number ``pid`` at ``seen`` (Unix seconds); None where it is gone.

    One that was born later is another one, also after a restart of the machine.
    """
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        return process if process.create_time() <= seen + CLOCK and alive(process) else None
    except psutil.NoSuchProcess:
        return None


def alive(process: psutil.Process) -> bool:
    """Whether it is still at work, and no zombie that nobody has waited for."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
