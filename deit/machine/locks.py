"""File locks: who works on a run, ships it, copies data or reads them.

The program takes all its locks here. The kernel releases a lock when its holder ends, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from deit.errors import UserError

_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
POLL = 0.2  # seconds between two attempts

_held: list[IO[str]] = []  # shared locks this process keeps until it ends


@contextmanager
def alone(file: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Lock ``file`` exclusively, after waiting for its holder; ``waiting`` is called once with the holder."""
    with open(file, "a+", encoding="utf-8") as lock:
        if not take(lock):
            lock.seek(0)
            waiting(lock.read().strip() or "another process")
            hold(lock)
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        yield


@contextmanager
def turn(file: Path, goes_on: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Lock ``file`` exclusively, after waiting for its holder as long as ``goes_on`` returns True; yields whether it is."""
    with open(file, "a+", encoding="utf-8") as lock:
        while not (mine := take(lock)) and goes_on():
            time.sleep(POLL)
        yield mine


def read_by_others(file: Path) -> bool:
    """Whether another process has a shared lock on ``file``; this process must have none."""
    with turn(file) as free:
        return not free


def keep_reading(file: Path) -> None:
    """Keep a shared lock on ``file`` until this process ends."""
    lock = open(file, "a+", encoding="utf-8")  # noqa: SIM115  # open until the end
    hold(lock, shared=True)
    _held.append(lock)


def take(lock: IO[str] | IO[bytes] | int, *, shared: bool = False) -> bool:
    """Lock an open file, exclusively or ``shared``, if it is free; returns whether it was.

    The lock is held until the file is closed. Raises UserError if the file system has no locks.
    """
    return _flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def hold(lock: IO[str] | IO[bytes] | int, *, shared: bool = False) -> None:
    """As ``take``, but waits until the lock is free."""
    _flock(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


def check(folder: Path) -> None:
    """Raise UserError if files in ``folder``, which need not exist yet, cannot be locked."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=there) as file:  # missing permission is reported later
        take(file)


def _flock(lock: IO[str] | IO[bytes] | int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        descriptor = lock if isinstance(lock, int) else lock.fileno()
        raise UserError(_no_locks(descriptor, error)) from None
    return True


def _no_locks(descriptor: int, error: OSError) -> str:
    file = Path(os.path.realpath(f"/proc/self/fd/{descriptor}"))
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    mount = next((parent for parent in file.parents if parent in mounts), None)
    system = f"the file system {mounts[mount]} at {mount}" if mount else "its file system"
    return (
        f"{file.parent}: {system} cannot lock files ({error.strerror}), so that two launches could work on one run. Give a "
        "folder on a disk of this machine (runs_dir, tracking.uri, task.output), or mount it with locks (NFS: "
        "local_lock=flock, Lustre: flock)."
    )
