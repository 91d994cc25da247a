"""A run directory in a store: what has changed on this machine is copied to ``runs_dir``/<name>/<id> there.

What is there can be gone on with at any moment:

1. The journal is copied before the checkpoints that were there when it was read: no metric is missing behind a checkpoint.
2. Of a checkpoint ``state.json`` comes last, and goes first: without it the rest is no checkpoint.
3. ``best.json`` comes after the checkpoints it names, and old ones are deleted after the newer ones are there.
4. ``status.json`` comes last of all.

``.upload.json`` in the run directory says what is there, so that a copying that was killed goes on where it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from deit.config.remote import is_remote
from deit.config.schema import RunConfig
from deit.files import read_json, write_json
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.storage.store import NothingThere, Store, open_store

RECORD = ".upload.json"
SNAPSHOTS = ".upload"  # folder of what must not change while it is copied
LOCK = ".uploading"
LOG = "uploader.log"  # its own; it would never be all there
ASIDE = "superseded_"  # in the names of checkpoints that another machine's course has made worthless
DEBRIS = ("kernel_meta", "rank_", ASIDE)  # the first two are what MindSpore leaves where it works

Signature = tuple[int, int]  # size and time of the last change in nanoseconds


def address_of(run: RunDirectory, config: RunConfig) -> str | None:
    """Where the run is copied to; None where runs_dir is a folder."""
    if not is_remote(config.runs_dir):
        return None
    return f"{config.runs_dir.rstrip('/')}/{run.path.parent.name}/{run.path.name}"


class Mirror:
    """One run directory and its copy. Whoever holds its lock (``LOCK``) may call ``send``."""

    def __init__(self, run: RunDirectory, address: str) -> None:
        self.run, self.address = run, address
        self.goes_on: Callable[[], bool] = lambda: True  # asked before each file
        self._store: Store | None = None
        self.reload()

    def reload(self) -> None:
        """Read again what is there: another process may have copied meanwhile."""
        about = read_json(self.run.path / RECORD)
        known = about["files"] if about and about["address"] == self.address else {}
        self._there: dict[str, Signature] = {name: (size, time) for name, (size, time) in known.items()}

    def note(self, files: dict[str, Signature]) -> None:
        """Take files for copied, such as those that have just come from there."""
        self._there |= files
        self._save()

    def missing(self) -> list[str]:
        """What the store has not, or has otherwise or still, by name."""
        return [n for n in self._local() if self._there.get(n) != signature(self.run.path / n)] + self._gone()

    def send(self) -> int:
        """Copy and delete all there is to; how many files were copied. Raises StoreError; what was done until then stays so."""
        run = self.run
        snapshots = self._snapshots([run.best, *sorted(run.tracking.glob("[!.]*.json"))])
        best = snapshots.pop(self._name(run.best), None)
        whole = checkpoint.complete(run)
        count = self._put_all(self._named([run.config, run.overrides, run.environment]))
        count += self._put_all(self._named([run.journal, run.system_journal]))
        # How far MLflow has heard was read before the journal: it must not be ahead of it.
        count += self._put_all(snapshots)
        for folder in reversed(whole):
            count += self._put_checkpoint(folder)
        settled = all(map(self._is_there, checkpoint.complete(run)))  # no newer one, which the pointer may mean
        if best is not None and settled:
            count += self._put_all({self._name(run.best): best})
        apart = (f"{run.checkpoints.name}/step_", self._name(run.best), f"{run.tracking.name}/", self._name(run.status))
        count += self._put_all({name: run.path / name for name in self._local() if not name.startswith(apart)})
        if settled:
            self._delete(self._gone())
        count += self._put_all(self._named([run.status]))
        shutil.rmtree(run.path / SNAPSHOTS, ignore_errors=True)
        return count

    def _is_there(self, folder: Path) -> bool:
        return self._name(folder / checkpoint.STATE) in self._there

    def _put_checkpoint(self, folder: Path) -> int:
        files = self._named(sorted(folder.iterdir())) if folder.is_dir() else {}
        state = self._name(folder / checkpoint.STATE)
        last = files.pop(state, None)
        if last is None:  # pruned meanwhile
            return 0
        if self._there.get(state) not in (None, signature(last)):  # another one of the same step
            self._delete([state])
        return self._put_all(files) + self._put_all({state: last})

    def _put_all(self, files: dict[str, Path]) -> int:
        count = 0
        for name, file in files.items():
            before = signature(file)
            if before is None or self._there.get(name) == before:
                continue
            if not self.goes_on():
                raise Stopped
            try:
                self._far().put(file, f"{self.address}/{name}")
            except (NothingThere, FileNotFoundError):
                if file.exists():
                    raise
                continue  # deleted meanwhile
            # What was written meanwhile changes the signature, and is copied the next time.
            self._there[name] = before
            self._save()
            count += 1
        return count

    def _snapshots(self, files: list[Path]) -> dict[str, Path]:
        """Copies of those files that are not in the store as they are now, by name."""
        folder = self.run.path / SNAPSHOTS
        shutil.rmtree(folder, ignore_errors=True)
        found = {}
        for name, file in self._named(files).items():
            if file.exists() and self._there.get(name) != signature(file):
                folder.mkdir(exist_ok=True)
                found[name] = Path(shutil.copy2(file, folder / file.name))
        return found

    def _gone(self) -> list[str]:
        """Files of checkpoints that are here no more, ``state.json`` of each first."""
        kept = f"{self.run.checkpoints.name}/"
        gone = [name for name in self._there if name.startswith(kept) and not (self.run.path / name).exists()]
        return sorted(gone, key=lambda name: (not name.endswith(f"/{checkpoint.STATE}"), name))

    def _delete(self, names: list[str]) -> None:
        for name in names:
            self._far().delete([f"{self.address}/{name}"])
            del self._there[name]
            self._save()

    def _local(self) -> Iterator[str]:
        """Names of the files that belong into the store."""
        for folder, below, names in os.walk(self.run.path):  # which passes over a folder that is gone meanwhile
            below[:] = sorted(filter(_is_kept, below))
            for file in (Path(folder, name) for name in sorted(filter(_is_kept, names))):
                parts = file.relative_to(self.run.path).parts
                own = parts == (self.run.logs.name, LOG) or (
                    parts[0] == self.run.tracking.name and file.suffix != ".json"
                )  # locks
                if not own and file.is_file() and not file.is_symlink():
                    yield "/".join(parts)

    def _named(self, files: list[Path]) -> dict[str, Path]:
        return {self._name(file): file for file in files}

    def _name(self, file: Path) -> str:
        return file.relative_to(self.run.path).as_posix()

    def _far(self) -> Store:
        if self._store is None:
            self._store = open_store(self.address, "runs_dir")
        return self._store

    def _save(self) -> None:
        write_json(self.run.path / RECORD, {"address": self.address, "files": self._there}, durable=False)


def _is_kept(name: str) -> bool:
    """Whether a file or folder of this name is more than a passing thing."""
    return not name.startswith((".", *DEBRIS)) and not name.endswith(".tmp")


class Stopped(Exception):
    """The copying was told to end; it goes on another time."""


def signature(file: Path) -> Signature | None:
    """Size and time of the last change; None where there is no such file."""
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns
