"""Whether a process that a run names is still that process: process numbers are used again."""

from __future__ import annotations

import psutil

CLOCK = 2.0  # seconds by which the kernel's time of a birth and the wall clock may differ


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
