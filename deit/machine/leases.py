"""Things of this machine that one launch has at a time: cards and ports.

A lease is a locked file in a folder that all launches share, of all users. The kernel gives the lock back when its
holder ends, however it ends, so nothing stays taken.
"""

from __future__ import annotations

import os
from pathlib import Path

from deit.errors import UserError
from deit.machine import locks

FOLDER = Path("/tmp/deit-leases")  # wherever TMPDIR points: users who set it share the cards all the same


class Lease:
    """A locked file; ``release`` gives it back, and so does the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def take(kind: str, number: int, holder: str) -> Lease | None:
    """Lease ``kind`` (``ascend``, ``gpu``, ``port``) ``number``; None where another launch has it.

    ``holder`` says for whom, for the messages of others. Raises UserError where this user can make no file in ``FOLDER``.
    """
    try:
        descriptor = _open(_file(kind, number))
    except PermissionError:  # made by another user who keeps it to himself
        return None
    if not locks.take(descriptor):
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{holder}\n".encode())
    return Lease(descriptor)


def holder(kind: str, number: int) -> str:
    """For whom a thing that could not be leased is taken."""
    try:
        return _file(kind, number).read_text().strip() or "another launch"
    except OSError:
        return "another launch"


def _file(kind: str, number: int) -> Path:
    return FOLDER / f"{kind}-{number}"


def _open(path: Path) -> int:
    try:
        # Without O_CREAT first: the kernel refuses it for files of others in a shared temporary folder.
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
            f"{FOLDER}: no file can be made there ({error.strerror}), but all launches of this machine note there which cards "
            f"and ports they have. Its owner can fix that: chmod 1777 {FOLDER}"
        ) from None
    os.fchmod(descriptor, 0o666)  # whatever the umask says: all users of the machine share its cards
    return descriptor


def _make_folder() -> None:
    try:
        FOLDER.mkdir()
    except FileExistsError:
        return
    FOLDER.chmod(0o1777)  # as /tmp itself is
