"""Download many objects to disk: threads, a progress bar, and a manifest of complete files."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path

from deit.errors import UserError
from deit.files import signature, whole_file
from deit.progress_bar import progress_bars
from deit.storage.store import Object, Store, Unreachable

THREADS = 16
PAUSES = (1.0, 4.0)  # seconds between attempts at an object


@dataclass(frozen=True)
class Entry:
    """A line of a manifest: an object and its file."""

    name: str
    size: int
    tag: str
    mtime_ns: int

    @property
    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


class Manifest:
    """The complete files of a copy: a line for each object, appended when its file has its final name."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.entries = {entry.name: entry for entry in self._read()}

    def _read(self) -> Iterator[Entry]:
        try:
            with open(self._file, encoding="utf-8") as lines:
                for line in lines:
                    try:
                        yield Entry(**json.loads(line))
                    except (ValueError, TypeError):
                        continue  # cut off by a kill: the file is copied again
        except FileNotFoundError:
            return

    def has(self, found: Object, file: Path) -> bool:
        """Whether ``file`` is this object, and unchanged since it was copied."""
        entry = self.entries.get(found.name)
        if entry is None or (entry.size, entry.tag) != (found.size, found.tag):
            return False
        return signature(file) == (entry.size, entry.mtime_ns)

    def append(self, entries: Iterable[Entry]) -> None:
        with open(self._file, "a", encoding="utf-8") as lines:
            for entry in entries:
                self.entries[entry.name] = entry
                lines.write(entry.line)

    def replace(self, names: Iterable[str]) -> None:
        """Keep only the lines of ``names``, one each."""
        self.entries = {name: self.entries[name] for name in names}
        with whole_file(self._file, "w", durable=False) as lines:
            lines.writelines(entry.line for entry in self.entries.values())


def check_names(found: Sequence[Object], key: str) -> None:
    """Raise UserError if objects cannot be files: names that leave the folder, or one that is another's folder."""
    names = {one.name for one in found}
    for one in found:
        parts = one.name.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts) or len(os.fsencode(max(parts, key=len))) > 255:
            raise UserError(f"{key}: the object {one.address!r} has a name that is not allowed for files.")
        for end in range(1, len(parts)):
            if "/".join(parts[:end]) in names:
                raise UserError(f"{key}: {one.address!r} exists, but also an object with the name of its folder; rename one.")


def copy(store: Store, wanted: Sequence[Object], place: Callable[[Object], Path], parts: Path, manifest: Manifest) -> None:
    """Copy the objects to ``place``, and record each in the manifest.

    ``parts`` is a folder on the same disk for partial files. Raises UserError for the first that fails; what was copied before
    is kept, and is not copied again.
    """
    parts.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    pending: set[Future[Entry]] = set()
    with progress_bars(byte_sizes=True) as bars, ThreadPoolExecutor(THREADS, thread_name_prefix="copy") as pool:
        bar = bars.add(store.key, sum(one.size for one in wanted), f"0/{len(wanted):,} files")
        try:
            queue, done = iter(wanted), 0
            while True:
                while len(pending) < 4 * THREADS and (one := next(queue, None)) is not None:
                    pending.add(pool.submit(_copy_one, store, one, place(one), parts, bar.advance, stop.is_set))
                if not pending:
                    return
                ready, pending = wait(pending, return_when=FIRST_COMPLETED)
                failed = [error for future in ready if (error := future.exception()) is not None]
                manifest.append(future.result() for future in ready if future.exception() is None)
                if failed:
                    raise failed[0]
                done += len(ready)
                bar.note(f"{done:,}/{len(wanted):,} files")
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            manifest.append(f.result() for f in pending if f.done() and not f.cancelled() and f.exception() is None)
            raise


def part_name(one: Object) -> str:
    """The name of the file for a partial object; it changes with the object's content."""
    return hashlib.sha256(f"{one.name}\n{one.tag}".encode()).hexdigest()[:32]


class _Stopped(Exception):
    """The copying ends; partial files are kept."""


def _copy_one(
    store: Store, one: Object, target: Path, parts: Path, told: Callable[[int], None], stopped: Callable[[], bool]
) -> Entry:
    part = parts / part_name(one)
    try:
        for pause in (*PAUSES, None):
            try:
                store.fetch(one, part, told, stopped)
                break
            except Unreachable:
                if pause is None:
                    raise
                told(-part.stat().st_size if part.exists() else 0)  # counted again
                time.sleep(pause)
        if stopped():
            raise _Stopped
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)
        return Entry(one.name, one.size, one.tag, target.stat().st_mtime_ns)
    except OSError as error:
        raise UserError(f"{store.key}: {target} cannot be written ({error.strerror}).", exit_code=1) from error
