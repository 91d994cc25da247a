"""Who copies and who reads: locked files beside a copy. The kernel gives a lock back when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

POLL = 0.2  # seconds between two looks at a lock that another has

_held: list[IO[str]] = []  # shared locks this process keeps until it ends


@contextmanager
def alone(file: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold ``file`` exclusively, after waiting for its holder; ``waiting`` is called once with the holder."""
    with open(file, "a+", encoding="utf-8") as lock:
        told = False
        while not _take(lock, fcntl.LOCK_EX):
            if not told:
                lock.seek(0)
                waiting(lock.read().strip() or "another process")
            told = True
            time.sleep(POLL)
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        yield


@contextmanager
def turn(file: Path) -> Iterator[bool]:
    """Hold ``file`` exclusively, if nobody else does; whether it is so."""
    with open(file, "a+", encoding="utf-8") as lock:
        yield _take(lock, fcntl.LOCK_EX)


def read_by_others(file: Path) -> bool:
    """Whether another process keeps a shared lock on ``file``; of this process's own are none asked for."""
    with open(file, "a+", encoding="utf-8") as lock:
        return not _take(lock, fcntl.LOCK_EX)


def keep_reading(file: Path) -> None:
    """Keep a shared lock on ``file`` as long as this process lives."""
    lock = open(file, "a+", encoding="utf-8")  # noqa: SIM115  # open until the end
    fcntl.flock(lock, fcntl.LOCK_SH)
    _held.append(lock)


def _take(lock: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
