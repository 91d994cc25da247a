"""Processes: start one that does not outlive the launcher, read its log, check whether one is alive."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil

from deit.machine.lifeline import end_with_parent

CLOCK = 2.0  # seconds by which the kernel's start time of a process and the wall clock may differ


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    death_signal: int | None,
    folder: Path | None = None,
    shielded: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a command in its own session, its output appended to ``log``.

    It gets ``death_signal`` when the launcher dies, even by SIGKILL; ``folder`` is its working directory. ``shielded``: it
    starts with SIGTERM ignored, which a batch system may send to every process of a job; the launcher ends it in other ways.
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
            preexec_fn=partial(_prepare, death_signal, shielded, os.getpid()),  # noqa: PLW1509  # only system calls: no other way asks for a death signal
        )


def _prepare(death_signal: int | None, shielded: bool, parent: int) -> None:
    """Runs in a new process before it becomes the command."""
    if shielded:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if death_signal is not None:
        end_with_parent(death_signal, parent)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    if not log.exists():
        return ""
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def find(pid: int | None, seen: float) -> psutil.Process | None:
    """The living process that had the number ``pid`` at ``seen`` (Unix seconds); None if it is gone.

    One that started later is another process, also after a reboot.
    """
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        return process if process.create_time() <= seen + CLOCK and alive(process) else None
    except psutil.NoSuchProcess:
        return None


def alive(process: psutil.Process) -> bool:
    """Whether it is running and not a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
