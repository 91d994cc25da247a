"""Data in a store is copied once per machine, before the workers start; all processes of the machine read the copy.

    <cache>/data/<bucket>-<name>-<digest of the address>/
        <name>/            the copy: the tree below data.root (or, if that is one object, the file <name>)
        files.jsonl        the complete files: name, size, ETag
        complete.json      exists while the copy is complete: files, bytes, time of the last comparison with the store
        parts/             partial files
        .copying           locked by the process that copies: others wait
        .reading           locked by every launch that reads: its data do not change

The frozen configuration keeps the address, so that a resume on another machine copies it there.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from deit.config.addresses import COMPLETE, data_copy, is_remote
from deit.config.schema import DataConfig
from deit.console import console
from deit.errors import UserError
from deit.files import free_below, read_json, write_json
from deit.machine import locks
from deit.storage.download import Manifest, check_names, copy
from deit.storage.open import open_store
from deit.storage.store import Object, Store, Unreachable
from deit.text import byte_size

KEY = "data.root"
FRESH = 3600.0  # seconds for which the trials of a sweep trust that a copy still equals the store
_staged: set[Path] = set()  # copies that this process has checked


def stage(data: DataConfig, *, believed: float = 0.0) -> None:
    """Copy a remote ``data.root`` to this machine, or update the copy; otherwise do nothing.

    A copy that was compared within the last ``believed`` seconds is used as it is. Until this process ends, the data that it
    reads do not change. Raises UserError if the store or the disk fails, or another launch reads an outdated copy.
    """
    if data.root is None or not is_remote(data.root):
        return
    store = open_store(data.root, KEY)  # a wrong address is reported before anything is created
    local = data_copy(data.root, data.cache_dir)
    if local in _staged:
        return
    slot = local.parent
    try:
        slot.mkdir(parents=True, exist_ok=True)
        with locks.alone(
            slot / ".copying", lambda who: console().print(f"{data.root} is being copied by {who}; waiting for it")
        ):
            copy_of = _Copy(data.root, local)
            if not copy_of.compared_within(believed):
                copy_of.renew(store)
            locks.keep_reading(slot / ".reading")
    except OSError as error:
        raise UserError(
            f"data.cache_dir: the copy of {data.root} cannot be written to {slot} ({error.strerror}). Give another "
            "data.cache_dir=FOLDER, or set DEIT_CACHE."
        ) from error
    _staged.add(local)


class _Copy:
    """The copy of one address. This process holds its lock."""

    def __init__(self, root: str, local: Path) -> None:
        self._root, self._local, self._slot = root, local, local.parent
        self._complete = self._slot / COMPLETE

    def compared_within(self, seconds: float) -> bool:
        about = read_json(self._complete)
        return about is not None and 0 <= time.time() - about["compared"] < seconds

    def renew(self, store: Store) -> None:
        """Copy what is missing or differs from the store, and delete what the store no longer has."""
        about = read_json(self._complete)
        try:
            found = store.objects(self._root)
        except Unreachable as error:
            if about is None:
                raise
            compared = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(about["compared"]))
            console().print(f"{error} The copy of {compared} in {self._local} is used as it is.")
            return
        check_names(found, KEY)
        manifest = Manifest(self._slot / "files.jsonl")
        missing = [one for one in found if not manifest.has(one, self._file(one, found))]
        names = {one.name for one in found}
        surplus = [name for name in manifest.entries if name not in names]
        size = sum(one.size for one in found)
        said = f"{len(found):,} files, {byte_size(size)}"
        if missing or surplus or about is None:
            if about is not None and locks.read_by_others(self._slot / ".reading"):
                raise UserError(
                    f"{KEY}={self._root}: {len(missing) + len(surplus)} objects have changed in the store, but another launch "
                    f"reads the copy in {self._local}. Wait for its end, or give another data.cache_dir=FOLDER."
                )
            self._check_space(sum(one.size for one in missing))
            self._complete.unlink(missing_ok=True)
            self._delete(surplus, manifest)
            began = time.monotonic()
            if missing:
                copy(store, missing, lambda one: self._file(one, found), self._slot / "parts", manifest)
            manifest.replace(sorted(names))
            shutil.rmtree(self._slot / "parts", ignore_errors=True)
            kept = f", {len(found) - len(missing):,} were there" if len(found) > len(missing) else ""
            gone = f", {len(surplus):,} deleted" if surplus else ""
            took = time.monotonic() - began
            console().print(f"copied {self._root} ({said}{kept}{gone}) to {self._local} in {took:.1f} s")
        else:
            console().print(f"{self._root} ({said}) is unchanged in {self._local}")
        write_json(self._complete, {"address": self._root, "files": len(found), "bytes": size, "compared": time.time()})

    def _file(self, one: Object, found: list[Object]) -> Path:
        return self._local if self._is_file(found) else self._local / one.name

    def _is_file(self, found: list[Object]) -> bool:
        """Whether the address is that of one object."""
        return len(found) == 1 and found[0].address.rstrip("/") == self._root.rstrip("/")

    def _delete(self, names: list[str], manifest: Manifest) -> None:
        for name in names:
            file = self._local / name
            file.unlink(missing_ok=True)
            for folder in file.relative_to(self._local).parents:
                try:
                    (self._local / folder).rmdir()
                except OSError:  # not empty
                    break
        manifest.replace([name for name in manifest.entries if name not in set(names)])

    def _check_space(self, needed: int) -> None:
        parts = self._slot / "parts"
        there = sum(file.stat().st_size for file in parts.iterdir()) if parts.is_dir() else 0
        free = free_below(self._slot)
        if free < needed - there:
            raise UserError(
                f"data.cache_dir: {byte_size(free)} are free in {self._slot}, but the copy of {self._root} needs "
                f"{byte_size(needed - there)} more. Free some space, give another data.cache_dir=FOLDER, or set DEIT_CACHE."
            )
