"""Fetch a sweep from a store to this machine, to report or resume it."""

from __future__ import annotations

import shutil
from pathlib import Path

from deit.config.addresses import runs_copy
from deit.console import console, waiting
from deit.errors import UserError
from deit.files import read_json, signature
from deit.runs.sweep_directory import FOLDER, SweepDirectory
from deit.runs.trial_record import DONE
from deit.storage.download import Manifest, copy
from deit.storage.fetch_run import FETCHING, brought, fetch_run, fetching_alone
from deit.storage.open import open_store
from deit.storage.store import NothingThere, Object, Store
from deit.storage.sweep_mirror import SweepMirror, run_address


def newest_sweep(runs_dir: str, key: str) -> str:
    """The address of the newest sweep below a remote ``runs_dir``, which may exist on this machine only.

    Raises UserError if there is none.
    """
    base = f"{runs_dir.rstrip('/')}/{FOLDER}"
    ids = {*open_store(base, key).folders(base), *(path.parent.name for path in Path(runs_copy(base)).glob("*/sweep.json"))}
    if not ids:
        raise UserError(f"{key}=last: no sweep found in {base}. Give the address of a sweep, or runs_dir=.")
    return f"{base}/{max(ids)}"


def fetch_sweep(address: str, key: str, *, to_go_on: bool) -> SweepDirectory:
    """The sweep at ``address``, the value of ``key``, on this machine, at least as recent as in the store.

    The runs of its trials come with it, without their checkpoints, except unfinished ones if ``to_go_on``. Raises UserError if
    there is none, or if the store does not respond.
    """
    address = address.rstrip("/")
    store = open_store(address, key)
    sweep = SweepDirectory(runs_copy(address))
    try:
        found = {one.name: one for one in store.objects(address)}
    except NothingThere:
        if not sweep.info.is_file():
            raise
        return sweep  # nothing of it has been copied yet
    if sweep.info.name not in found:
        raise UserError(f"{key}={address}: not the directory of a sweep, {sweep.info.name} is missing.")
    if sweep.trials.name not in found and not sweep.trials.is_file():
        raise UserError(f"{key}={address}: has no trials; the machine that started it was lost before they were copied.")
    sweep.path.mkdir(parents=True, exist_ok=True)
    with fetching_alone(address, sweep.path, sweep.lock) as mine:
        if not mine:  # a launch of this machine works on it
            return sweep
        about = read_json(brought(store, found[sweep.info.name], sweep.path / FETCHING / sweep.info.name))
        if to_go_on and (about.get("runs_dir") or "").rstrip("/") != address.rsplit("/", 2)[0]:
            raise UserError(
                f"{key}={address}: this sweep was started with runs_dir={about.get('runs_dir', 'FOLDER')}, where its trials "
                "write; it cannot be resumed from a copy."
            )
        ahead = _is_ahead(store, sweep, found)
        if ahead:
            _fetch_directory(store, sweep, address, found)
        trials = sweep.read_trials()
        with waiting(f"fetching the runs of {len(trials)} trials"):
            for trial in trials:
                light = not to_go_on or trial.state in DONE
                fetch_run(run_address(address, trial), key, light=light, quiet=True)
        if ahead:
            console(stderr=True).print(f"fetched {address} to {sweep.path}: {len(trials)} trials")
    return sweep


def _is_ahead(store: Store, sweep: SweepDirectory, found: dict[str, Object]) -> bool:
    """Whether the store has something later than this machine."""
    if not sweep.info.is_file() or not sweep.trials.is_file():
        return True
    if sweep.trials.name not in found:
        return False
    there = SweepDirectory(sweep.path / FETCHING)
    brought(store, found[sweep.trials.name], there.trials)
    return _last_event(there) > _last_event(sweep)


def _last_event(sweep: SweepDirectory) -> float:
    attempts = [attempt for trial in sweep.read_trials() for attempt in trial.attempts]
    return max((attempt.ended or attempt.began for attempt in attempts), default=0.0)


def _fetch_directory(store: Store, sweep: SweepDirectory, address: str, found: dict[str, Object]) -> None:
    folder = sweep.path / FETCHING
    folder.mkdir(exist_ok=True)
    there = SweepDirectory(folder)
    wanted = [found[file.name] for file in sweep.files if file.name in found]
    copy(store, wanted, lambda one: folder / one.name, folder / "parts", Manifest(folder / "files.jsonl"))
    trials = there.read_trials()
    for trial in trials:  # their paths are those of another machine
        trial.run = runs_copy(run_address(address, trial))
    there.write_trials(trials)
    marks = {file.name: mark for file in there.files if (mark := signature(file)) is not None}
    for journal in ("-journal", "-wal", "-shm"):  # of the old local study: SQLite would apply it to the new one
        sweep.study.with_name(sweep.study.name + journal).unlink(missing_ok=True)
    for file in filter(Path.exists, there.files):
        if file != there.trials:
            file.replace(sweep.path / file.name)
    if sweep.address == address:
        SweepMirror(sweep, address).note(marks)
    there.trials.replace(sweep.trials)  # last: until then the local copy is older than the store
    shutil.rmtree(folder)
