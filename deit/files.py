"""Files and folders that appear under their name only when they are complete.

A reader finds the old version or the new one, never half of one. A file is written as ``.NAME.<process>.tmp`` and renamed.
Writing a folder takes longer, and a kill -9 leaves it behind; a lock shows the next writer whether its owner is still alive:

    .NAME.<random>.tmp/folder   becomes NAME
    .NAME.<random>.tmp/lock     locked while its writer lives; the kernel releases it however that ends
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def whole_file(path: Path, mode: str = "wb", *, durable: bool = True) -> Iterator[IO[Any]]:
    """A file to write into, which replaces ``path`` when the block ends without an error; otherwise nothing is left.

    ``durable``: it is synced to disk before the rename. Text (mode ``w``) is UTF-8 with unchanged line ends.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        with open(temporary, mode, **text) as file:  # type: ignore[call-overload]
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace a text file atomically."""
    with whole_file(path, "w", durable=durable) as file:
        file.write(text)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Replace a JSON file atomically."""
    write_text(path, json.dumps(value, indent=1, sort_keys=False) + "\n", durable=durable)


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None if it does not exist."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """An empty folder on the disk of ``output`` to write into; it becomes ``output`` when the block ends without an error.

    Raises OSError if it cannot be created, or if ``output`` has appeared meanwhile. After an error nothing is left.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    for left in output.parent.glob(f".{glob.escape(output.name)}.*.tmp"):
        _remove_if_dead(left)
    temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".tmp", dir=output.parent))
    try:
        with open(temporary / "lock", "w") as lock:
            with contextlib.suppress(OSError):  # a file system without locks: leftovers of killed writers stay
                fcntl.flock(lock, fcntl.LOCK_EX)
            folder = temporary / "folder"  # with normal permissions, unlike a temporary folder
            folder.mkdir()
            yield folder
            folder.rename(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_if_dead(temporary: Path) -> None:
    try:
        with open(temporary / "lock", "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError:  # its writer lives, it belongs to another user, or it is gone
        return


Signature = tuple[int, int]  # size and time of the last change in nanoseconds


def signature(file: Path) -> Signature | None:
    """Size and modification time; None if there is no such file."""
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns


def free_below(folder: Path) -> int:
    """Free bytes for a folder, which need not exist yet."""
    disk = os.statvfs(next(path for path in (folder, *folder.parents) if path.exists()))
    return disk.f_bavail * disk.f_frsize


def sha256(path: Path) -> str:
    """The SHA-256 of a file of any size, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
