"""Leases of this machine's cards and ports: only one launch has each at a time.

A lease is a locked file in a folder that all launches of all users share. The kernel releases the lock when its holder ends,
however it ends.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from deit.errors import UserError
from deit.machine import locks

FOLDER = Path("/tmp/deit-leases")  # not TMPDIR: users who set it still share the cards


Lease = IO[str]  # a locked file; closing it releases the lease


def take(kind: str, number: int, holder: str) -> Lease | None:
    """Lease ``kind`` (``ascend``, ``gpu``, ``port``) ``number``; None if another launch has it.

    ``holder`` is shown to other launches. Raises UserError if this user cannot create files in ``FOLDER``.
    """
    try:
        lease = os.fdopen(_open(_file(kind, number)), "r+")
    except PermissionError:  # a private file of another user
        return None
    if not locks.take(lease):
        lease.close()
        return None
    lease.truncate(0)
    lease.write(f"{holder}\n")
    lease.flush()
    return lease


def holder(kind: str, number: int) -> str:
    """The holder of something that could not be leased."""
    try:
        return _file(kind, number).read_text().strip() or "another launch"
    except OSError:
        return "another launch"


def _file(kind: str, number: int) -> Path:
    return FOLDER / f"{kind}-{number}"


def _open(path: Path) -> int:
    try:
        # Without O_CREAT first: the kernel rejects it for files of others in a shared temporary folder.
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except PermissionError:
        if os.access(FOLDER, os.X_OK):
            raise
    try:
        _make_folder()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UserError(
            f"{FOLDER}: no file can be created there ({error.strerror}), but all launches of this machine record there which "
            f"cards and ports they use. Its owner can fix that: chmod 1777 {FOLDER}"
        ) from None
    os.fchmod(descriptor, 0o666)  # despite the umask: all users of the machine share its cards
    return descriptor


def _make_folder() -> None:
    try:
        FOLDER.mkdir()
    except FileExistsError:
        return
    FOLDER.chmod(0o1777)  # as /tmp itself is
