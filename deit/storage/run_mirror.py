"""A run directory in a store: what has changed on this machine is copied to ``runs_dir``/<name>/<id> there.

The copy can be resumed at any moment:

1. The journal is copied before the checkpoints that existed when it was read: no metric is missing before a checkpoint.
2. A checkpoint's ``state.json`` is copied last and deleted first: without it the rest is not a checkpoint.
3. ``best.json`` follows the checkpoints that it names, and old ones are deleted after the newer ones are copied.
4. ``status.json`` comes last.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Hashable, Iterator
from pathlib import Path

from deit.config.addresses import is_remote
from deit.config.schema import RunConfig
from deit.files import signature
from deit.machine import processes
from deit.runs import checkpoint, status
from deit.runs.directory import RunDirectory
from deit.storage.mirror_base import LOG, SNAPSHOTS, Folder


def address_of(run: RunDirectory, config: RunConfig) -> str | None:
    """The address of the run's copy; None if runs_dir is local."""
    if not is_remote(config.runs_dir):
        return None
    return f"{config.runs_dir.rstrip('/')}/{run.path.parent.name}/{run.path.name}"


class Mirror(Folder):
    """One run directory and its copy."""

    def __init__(self, run: RunDirectory, address: str) -> None:
        self.run = run
        super().__init__(run.path, address)

    def missing(self) -> list[str]:
        """The names of files that the store lacks, has in an older version, or should no longer have."""
        return super().missing() + self._gone()

    def send(self) -> int:
        run = self.run
        snapshots = self._snapshots([run.best, *sorted(run.tracking.glob("[!.]*.json"))])
        best = snapshots.pop(self._name(run.best), None)
        whole = checkpoint.complete(run)
        count = self._put_all(self._named([run.config, run.overrides, run.unused_keys, run.environment]))
        count += self._put_all(self._named([run.journal, run.system_journal]))
        # The progress of MLflow was read before the journal: it must not be ahead of it.
        count += self._put_all(snapshots)
        for folder in reversed(whole):
            count += self._put_checkpoint(folder)
        # There may be a newer checkpoint by now, which best.json may name.
        settled = all(self.has(folder / checkpoint.STATE) for folder in checkpoint.complete(run))
        if best is not None and settled:
            count += self._put_all({self._name(run.best): best})
        apart = (f"{run.checkpoints.name}/step_", self._name(run.best), f"{run.tracking.name}/", self._name(run.status))
        count += self._put_all({name: run.path / name for name in self._local() if not name.startswith(apart)})
        if settled:
            self._delete(self._gone())
        count += self._put_all(self._named([run.status]))
        shutil.rmtree(run.path / SNAPSHOTS, ignore_errors=True)
        return count

    def news(self) -> Hashable:
        # After the end each check counts as news: what is written then should be copied soon.
        return time.monotonic() if status.read(self.run).ended else tuple(checkpoint.complete(self.run))

    def accompanied(self) -> bool:
        now = status.read(self.run)
        return any(processes.find(pid, now.updated) for pid in (now.launcher_pid, now.worker_pid))

    def _put_checkpoint(self, folder: Path) -> int:
        files = self._named(sorted(folder.iterdir())) if folder.is_dir() else {}
        state = self._name(folder / checkpoint.STATE)
        last = files.pop(state, None)
        if last is None:  # pruned meanwhile
            return 0
        if self._there.get(state) not in (None, signature(last)):  # another one of the same step
            self._delete([state])
        return self._put_all(files) + self._put_all({state: last})

    def _gone(self) -> list[str]:
        """Files of deleted checkpoints, ``state.json`` of each first."""
        kept = f"{self.run.checkpoints.name}/"
        gone = [name for name in self._there if name.startswith(kept) and not (self.run.path / name).exists()]
        return sorted(gone, key=lambda name: (not name.endswith(f"/{checkpoint.STATE}"), name))

    def _local(self) -> Iterator[str]:
        for file in self._walk():
            parts = file.relative_to(self.run.path).parts
            own = parts == (self.run.logs.name, LOG) or (parts[0] == self.run.tracking.name and file.suffix != ".json")  # locks
            if not own:
                yield "/".join(parts)
