"""Fetch runs from a store to this machine, to resume, evaluate or export them.

``fetch_run`` copies what is newer there or missing here, to the local folder of that ``runs_dir`` (``config/addresses.py``).
A checkpoint appears here only when it is complete, ``status.json`` comes last: after a kill the next call continues.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deit.config import frozen
from deit.config.addresses import runs_copy
from deit.console import console
from deit.errors import UserError
from deit.files import read_json, signature, write_text
from deit.machine import locks
from deit.runs import checkpoint, status
from deit.runs.directory import RunDirectory
from deit.runs.sweep_directory import FOLDER
from deit.storage.download import Manifest, check_names, copy
from deit.storage.mirror_base import ASIDE
from deit.storage.open import open_store
from deit.storage.run_mirror import Mirror, address_of
from deit.storage.store import NothingThere, Object, Store

FETCHING = ".fetch"  # folder in the run directory: partial files, and the manifest of complete ones
LARGE = ("checkpoints/", "exports/")


def fetch_run(address: str, key: str, *, light: bool = False, quiet: bool = False) -> RunDirectory:
    """The run at ``address``, the value of ``key``, on this machine, at least as recent as in the store.

    ``light``: a new run comes without its checkpoints and exports; they follow when it is fetched again without ``light``.
    Raises UserError if there is none, or if the store does not respond.
    """
    address = address.rstrip("/")
    store = open_store(address, key)
    run = RunDirectory(runs_copy(address))
    try:
        found = {one.name: one for one in store.objects(address)}
    except NothingThere:
        if not run.config.is_file() or (run.partial.exists() and not light):
            raise
        return run  # nothing of it has been copied yet
    if "config.yaml" not in found:
        raise UserError(f"{key}={address}: not a run directory, config.yaml is missing.")
    check_names(list(found.values()), key)
    run.path.mkdir(parents=True, exist_ok=True)
    with fetching_alone(address, run.path, run.path / ".lock") as mine:
        if not mine:
            return run
        fetching = _Fetching(run, address, store, found, light)
        if fetching.is_ahead():
            fetching.fetch(quiet)
    return run


@contextmanager
def fetching_alone(address: str, folder: Path, launchers: Path) -> Iterator[bool]:
    """Fetch into ``folder`` after any other fetch; yields whether no launcher works there (holding the lock ``launchers``)."""

    def waiting(who: str) -> None:
        console(stderr=True).print(f"{address} is being fetched by {who}; waiting for it")

    with locks.alone(folder / ".fetching", waiting), locks.turn(launchers) as mine:
        yield mine


def newest_run(runs_dir: str, key: str) -> str:
    """The address of the newest training below a remote ``runs_dir``, which may exist on this machine only.

    Raises UserError if there is none.
    """
    base = runs_dir.rstrip("/")
    store = open_store(base, key)
    names = [name for name in store.folders(base) if name != FOLDER]  # sweeps are in a folder next to the runs
    # The name of a run directory is the time of its launch, so names sort by launch.
    ids = {(found, name) for name in names for found in store.folders(f"{base}/{name}")}
    ids |= {(path.parent.name, path.parent.parent.name) for path in Path(runs_copy(base)).glob("*/*/config.yaml")}
    for found, name in sorted(ids, reverse=True):
        address = f"{base}/{name}/{found}"
        folder = Path(runs_copy(address))
        file = folder / "config.yaml"
        if not file.is_file():
            try:
                (one,) = store.objects(f"{address}/config.yaml")
            except NothingThere:
                continue
            file = brought(store, one, folder / FETCHING / "config.yaml")
        config = frozen.load(file)
        if config.task.is_training and not config.dry_run:
            return address
    raise UserError(f"{key}=last: no training run found in {runs_dir}. Give the address of a run, or runs_dir=.")


class _Fetching:
    def __init__(self, run: RunDirectory, address: str, store: Store, found: dict[str, Object], light: bool) -> None:
        self._run, self._address, self._store, self._found = run, address, store, found
        self._folder = run.path / FETCHING
        self._light = light and (run.partial.exists() or not run.config.is_file())  # a complete run stays complete

    def is_ahead(self) -> bool:
        """Whether the store has something later than this machine."""
        if not self._run.config.is_file() or not self._run.status.is_file():
            return True
        if self._run.partial.exists() and not self._light:
            return True
        one = self._found.get("status.json")
        if one is None:  # not uploaded yet
            return False
        about = read_json(brought(self._store, one, self._folder / "status.json"))
        return bool(about.get("updated", 0.0) > status.read(self._run).updated)

    def fetch(self, quiet: bool) -> None:
        run = self._run
        if self._light:
            write_text(run.partial, self._address)
            self._found = {name: one for name, one in self._found.items() if not name.startswith(LARGE)}
        remote = self._checkpoints()
        here = {path.name: path for path in checkpoint.complete(run)}
        # A checkpoint's state.json has the SHA-256 of all its files.
        sums = {name: hashlib.md5((path / checkpoint.STATE).read_bytes()).hexdigest() for name, path in here.items()}
        wanted, places = [], {}
        for name, one in self._found.items():
            parts = name.split("/")
            if len(parts) == 3 and parts[0] == run.checkpoints.name and parts[1].startswith("step_"):
                # A checkpoint without state.json is not complete.
                state = remote.get(parts[1])
                if state is None or (state.md5 is not None and state.md5 == sums.get(parts[1])):
                    continue
                places[name] = self._arriving(parts[1]) / parts[2]
            else:
                places[name] = run.path / name
            if name != "status.json":
                wanted.append(one)
        self._folder.mkdir(exist_ok=True)
        manifest = Manifest(self._folder / "files.jsonl")
        missing = [one for one in wanted if not manifest.has(one, places[one.name])]
        copy(self._store, missing, lambda one: places[one.name], self._folder / "parts", manifest)
        if not self._light:
            self._reveal(sorted(remote), here)
        for folder in (run.checkpoints, run.logs, run.tracking):
            folder.mkdir(exist_ok=True)
        if "status.json" in self._found:
            brought(self._store, self._found["status.json"], run.status)
        shutil.rmtree(self._folder)
        if address_of(run, frozen.load(run.config)) == self._address:  # else it is copied elsewhere from now on
            there = {name: mark for name in self._found if (mark := signature(run.path / name)) is not None}
            Mirror(run, self._address).note(there)
        if not self._light:
            run.partial.unlink(missing_ok=True)
        if not quiet:
            console(stderr=True).print(f"fetched {self._address} to {run.path}: {len(missing):,} files")

    def _checkpoints(self) -> dict[str, Object]:
        """``state.json`` of each checkpoint in the store, by the name of its folder."""
        prefix = f"{self._run.checkpoints.name}/"
        states = [name for name in self._found if name.startswith(f"{prefix}step_") and name.endswith(f"/{checkpoint.STATE}")]
        return {name.split("/")[1]: self._found[name] for name in states}

    def _arriving(self, name: str) -> Path:
        return self._run.checkpoints / f".{name}.fetched.tmp"

    def _reveal(self, remote: Sequence[str], here: dict[str, Path]) -> None:
        """Give complete checkpoints their names, and rename those that the run in the store never reached."""
        for name in remote:
            if self._arriving(name).is_dir():
                if name in here:
                    shutil.rmtree(here[name])
                self._arriving(name).rename(self._run.checkpoints / name)
        for name, path in here.items():
            if not remote or name > remote[-1]:  # the run has continued elsewhere from an earlier step
                path.rename(path.with_name(f"{ASIDE}{name}"))


def brought(store: Store, one: Object, target: Path) -> Path:
    """Fetch a small object to ``target``."""
    part = target.with_name(f".{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    store.fetch(one, part, lambda size: None, lambda: False)
    return part.replace(target)
