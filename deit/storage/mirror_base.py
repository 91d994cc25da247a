"""A local folder and its copy in a store: what the store has is recorded here, what has changed is copied.

``.upload.json`` in the folder records what the store has, so that copying can continue after a kill. The order of the files is
defined by ``run_mirror.py`` and ``sweep_mirror.py``.
"""

from __future__ import annotations

import abc
import os
import shutil
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

from deit.files import Signature, read_json, signature, write_json
from deit.storage.open import open_store
from deit.storage.store import NothingThere, Store

RECORD = ".upload.json"
SNAPSHOTS = ".upload"  # folder for snapshots of files that change while they are copied
LOCK = ".uploading"
LOG = "uploader.log"  # its own log is never complete
ASIDE = "superseded_"  # in the names of checkpoints that are obsolete because another machine has resumed the run earlier
OF_MINDSPORE = ("akg_kernel_meta", "kernel_meta", "offload", "rank_")  # in its working directory
DEBRIS = (*OF_MINDSPORE, ASIDE)


class Folder(abc.ABC):
    """One folder and its copy. The holder of its lock (``LOCK``) may call ``send``."""

    def __init__(self, path: Path, address: str) -> None:
        self.path, self.address = path, address
        self.goes_on: Callable[[], bool] = lambda: True  # called before each file
        self._store: Store | None = None
        self.reload()

    def reload(self) -> None:
        """Read the record again: another process may have copied meanwhile."""
        try:
            about = read_json(self.path / RECORD)
        except ValueError:  # cut short by a power failure: everything is copied once more
            about = None
        known = about["files"] if about and about["address"] == self.address else {}
        self._there: dict[str, Signature] = {name: (size, time) for name, (size, time) in known.items()}

    def note(self, files: dict[str, Signature]) -> None:
        """Record files as copied, such as those that were just fetched."""
        self._there |= files
        self._save()

    def share(self, other: Folder) -> None:
        """Use the connection of another folder."""
        self._store = other._far()

    def has(self, file: Path) -> bool:
        """Whether the store has the file, perhaps an older version."""
        return self._name(file) in self._there

    def missing(self) -> list[str]:
        """The names of files that the store lacks or has in an older version."""
        return [name for name in self._local() if self._there.get(name) != signature(self.path / name)]

    @abc.abstractmethod
    def send(self) -> int:
        """Copy and delete what has changed; returns how many files were copied. After a StoreError the finished part stays."""

    @abc.abstractmethod
    def news(self) -> Hashable:
        """A value whose change starts a copy at once."""

    @abc.abstractmethod
    def accompanied(self) -> bool:
        """Whether a process of the run or sweep is alive."""

    @abc.abstractmethod
    def _local(self) -> Iterator[str]:
        """The names of the files to copy."""

    def _put_all(self, files: dict[str, Path]) -> int:
        """Copy files that have changed; returns how many."""
        return sum(self._put(name, file, signature(file)) for name, file in files.items())

    def _put(self, name: str, file: Path, mark: Signature | None) -> bool:
        """Copy a file if the store lacks it or has another mark; returns whether it did."""
        if mark is None or self._there.get(name) == mark:
            return False
        if not self.goes_on():
            raise Stopped
        try:
            self._far().put(file, f"{self.address}/{name}")
        except (NothingThere, FileNotFoundError):
            if file.exists():
                raise
            return False  # deleted meanwhile
        # A write during the copy changes the signature, so that the file is copied again next time.
        self._there[name] = mark
        self._save()
        return True

    def _delete(self, names: list[str]) -> None:
        for name in names:
            self._far().delete([f"{self.address}/{name}"])
            del self._there[name]
            self._save()

    def _snapshots(self, files: list[Path]) -> dict[str, Path]:
        """Copies, by name, of those files that have changed."""
        folder = self.path / SNAPSHOTS
        shutil.rmtree(folder, ignore_errors=True)
        found = {}
        for file in files:
            name = self._name(file)
            if file.exists() and self._there.get(name) != signature(file):
                folder.mkdir(exist_ok=True)
                found[name] = _copied(file, folder / file.name)
        return found

    def _walk(self) -> Iterator[Path]:
        """All files except temporary ones."""
        for folder, below, names in os.walk(self.path):  # skips a folder that is deleted meanwhile
            below[:] = sorted(filter(_is_kept, below))
            for file in (Path(folder, name) for name in sorted(filter(_is_kept, names))):
                if file.is_file() and not file.is_symlink():
                    yield file

    def _named(self, files: list[Path]) -> dict[str, Path]:
        return {self._name(file): file for file in files}

    def _name(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix()

    def _far(self) -> Store:
        if self._store is None:
            self._store = open_store(self.address, "runs_dir")
        return self._store

    def _save(self) -> None:
        write_json(self.path / RECORD, {"address": self.address, "files": self._there}, durable=False)


def _copied(file: Path, copy: Path) -> Path:
    """A copy with the modification time of its content, even if ``file`` is replaced meanwhile."""
    with open(file, "rb") as source, open(copy, "wb") as target:
        about = os.fstat(source.fileno())
        shutil.copyfileobj(source, target)
    os.utime(copy, ns=(about.st_atime_ns, about.st_mtime_ns))
    return copy


def _is_kept(name: str) -> bool:
    """Whether a file or folder of this name is copied."""
    return not name.startswith((".", *DEBRIS)) and not name.endswith(".tmp")


class Stopped(Exception):
    """The copying was asked to end; the rest follows next time."""
