"""Where the files in a tar are, also of a tar in a tar: their names, offsets and sizes, read from the headers alone."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deit.errors import UserError


@dataclass(frozen=True)
class Member:
    """A file in a tar on the disk: ``offset`` and ``size`` of its content are bytes in the outermost tar."""

    name: str
    offset: int
    size: int


class _Section(io.RawIOBase):
    """Some bytes of an open file as a file of their own."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self._descriptor, self._start, self._size, self._position = descriptor, start, size, 0

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._size - self._position)
        found = os.pread(self._descriptor, left if size < 0 else min(size, left), self._start + self._position)
        self._position += len(found)
        return found


def members(tar: Path, within: Member | None = None) -> Iterator[Member]:
    """The regular files of ``tar``, or of its member ``within``, which is a tar itself.

    Raises UserError if it is damaged or ends too early, or if a member is not a plain file name: none may name another folder.
    """
    place = str(tar) if within is None else f"{tar}:{within.name}"
    try:
        descriptor = os.open(tar, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(f"task.source: {tar} cannot be read ({error.strerror}).") from None
    try:
        start, size = (0, os.fstat(descriptor).st_size) if within is None else (within.offset, within.size)
        with tarfile.open(fileobj=_Section(descriptor, start, size), mode="r:") as opened:
            for found in opened:
                if not found.isfile():
                    raise UserError(f"task.source: {place} contains {found.name!r}, which is not a file.")
                if "/" in found.name or "\0" in found.name or found.name in ("", ".", ".."):
                    raise UserError(f"task.source: {place} contains {found.name!r}, which is not the plain name of a file.")
                if found.offset_data + found.size > size:
                    raise UserError(f"task.source: {place} ends within {found.name}; download it again.")
                yield Member(found.name, start + found.offset_data, found.size)
    except tarfile.TarError as error:
        raise UserError(f"task.source: {place} is damaged or ends too early ({error}); download it again.") from None
    except OSError as error:
        raise UserError(f"task.source: {place} cannot be read ({error.strerror}).", exit_code=1) from None
    finally:
        os.close(descriptor)
