"""Sweeps in a store: the directory of one is copied there while it goes on, and brought to another machine to go on with.

What is there can be gone on with at any moment: ``trials.jsonl`` comes after the configuration of each run that it names, and
after the study, which may know of more trials but not of fewer. The uploader of a sweep copies no run that is at work (each
has an uploader of its own), but what such ones have left behind, and those that have not started.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from deit.config.addresses import runs_copy
from deit.console import console, waiting
from deit.errors import UserError
from deit.files import read_json
from deit.machine import locks
from deit.runs.sweep_directory import FOLDER, SweepDirectory
from deit.runs.trial import DONE, Trial
from deit.storage.download import Manifest, copy
from deit.storage.fetch_run import FETCHING, brought, fetch_run, fetching_alone
from deit.storage.mirror_base import LOCK, SNAPSHOTS, Folder, signature
from deit.storage.run_mirror import Mirror
from deit.storage.store import NothingThere, Object, Store, open_store

BUSY = 30.0  # seconds that the study may be locked by who writes it


class SweepMirror(Folder):
    """The directory of one sweep and its copy, and of its trials' runs what nobody else copies."""

    def __init__(self, sweep: SweepDirectory, address: str) -> None:
        self.sweep = sweep
        self._settled: set[int] = set()  # trials that are done and whose runs were all there at the last look at them
        super().__init__(sweep.path, address)

    def missing(self) -> list[str]:
        return super().missing() + [name for mirror in self._runs(self.sweep.read_trials()) for name in mirror.missing()]

    def send(self) -> int:
        sweep = self.sweep
        # In this order: a study that was read later knows every trial of the list.
        snapshot = self._snapshots([sweep.trials])
        trials, mark = sweep.read_trials(), signature(sweep.study)
        if mark is not None and self._there.get(self._name(sweep.study)) != mark:
            self._copy_study()
        count = self._put_all(self._named([sweep.info]))
        named = True
        for trial, mirror in zip(trials, self._runs(trials), strict=True):
            if trial.number in self._settled:
                continue
            count += self._send_run(mirror)
            named = named and (mirror.has(mirror.run.config) or not mirror.run.config.exists())  # somebody may have removed it
            if trial.state in DONE and not mirror.missing():
                self._settled.add(trial.number)
        if self._study_copy.exists():
            count += self._put(self._name(sweep.study), self._study_copy, mark)
        if named:  # else the uploader of a run has not come so far
            count += self._put_all(snapshot)
        count += self._put_all(self._named([sweep.summary_csv, sweep.summary_md, sweep.report]))
        shutil.rmtree(self.path / SNAPSHOTS, ignore_errors=True)
        if not count:
            self._settled.clear()  # there is time to look for what has come to them since, such as an export
        return count

    def _send_run(self, mirror: Mirror) -> int:
        if not mirror.missing():
            return 0
        with locks.turn(mirror.path / LOCK) as mine:
            mirror.reload()  # its own uploader may have copied meanwhile
            mirror.share(self)
            return mirror.send() if mine else 0

    def _runs(self, trials: Sequence[Trial]) -> Iterator[Mirror]:
        for trial in trials:
            mirror = Mirror(trial.directory, run_address(self.address, trial))
            mirror.goes_on = self.goes_on
            yield mirror

    @property
    def _study_copy(self) -> Path:
        return self.path / SNAPSHOTS / self.sweep.study.name

    def _copy_study(self) -> None:
        """The study as of one moment, whoever writes it."""
        self._study_copy.parent.mkdir(exist_ok=True)
        try:
            with (
                closing(sqlite3.connect(self.sweep.study, timeout=BUSY)) as study,
                closing(sqlite3.connect(self._study_copy)) as copied,
            ):
                study.backup(copied)
        except sqlite3.Error as error:
            raise UserError(f"{self.sweep.study}: the search's record cannot be copied ({error}).", exit_code=1) from None

    def _local(self) -> Iterator[str]:
        return (self._name(file) for file in self.sweep.files if file.is_file())


def run_address(sweep_address: str, trial: Trial) -> str:
    """Where the run of a trial stands, beside the sweep that stands at ``sweep_address``."""
    run = trial.directory.path
    return f"{sweep_address.rsplit('/', 2)[0]}/{run.parent.name}/{run.name}"


def newest_sweep(runs_dir: str, key: str) -> str:
    """The address of the newest sweep below a remote ``runs_dir``, be it on this machine alone.

    Raises UserError where there is none.
    """
    base = f"{runs_dir.rstrip('/')}/{FOLDER}"
    ids = {*open_store(base, key).folders(base), *(path.parent.name for path in Path(runs_copy(base)).glob("*/sweep.json"))}
    if not ids:
        raise UserError(f"{key}=last: no sweep stands in {base}. Give the address of a sweep, or runs_dir=.")
    return f"{base}/{max(ids)}"


def fetch_sweep(address: str, key: str, *, to_go_on: bool) -> SweepDirectory:
    """The sweep at ``address``, the value of ``key``, on this machine, at least as far on as in the store.

    The runs of its trials come with it, without their checkpoints; those of trials that are not done whole, if it is
    ``to_go_on``. Raises UserError where there is none, or where the store does not answer.
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
        raise UserError(f"{key}={address}: not the directory of a sweep, it holds no {sweep.info.name}.")
    if sweep.trials.name not in found and not sweep.trials.is_file():
        raise UserError(f"{key}={address}: its trials are not there; the machine it began on was lost before they were copied.")
    sweep.path.mkdir(parents=True, exist_ok=True)
    with fetching_alone(address, sweep.path, sweep.lock) as mine:
        if not mine:  # a launch of this machine is at work on it
            return sweep
        about = read_json(brought(store, found[sweep.info.name], sweep.path / FETCHING / sweep.info.name))
        if to_go_on and (about.get("runs_dir") or "").rstrip("/") != address.rsplit("/", 2)[0]:
            raise UserError(
                f"{key}={address}: this sweep was begun with runs_dir={about.get('runs_dir', 'FOLDER')}, where its trials "
                "write; it cannot go on from a copy."
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
    """Whether the store knows of something later than this machine."""
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
    for trial in trials:  # they have the paths of another machine
        trial.run = runs_copy(run_address(address, trial))
    there.write_trials(trials)
    marks = {file.name: mark for file in there.files if (mark := signature(file)) is not None}
    for journal in ("-journal", "-wal", "-shm"):  # of the study that was here: SQLite would write it into the one that has come
        sweep.study.with_name(sweep.study.name + journal).unlink(missing_ok=True)
    for file in filter(Path.exists, there.files):
        if file != there.trials:
            file.replace(sweep.path / file.name)
    if sweep.address == address:
        SweepMirror(sweep, address).note(marks)
    there.trials.replace(sweep.trials)  # last: until then what is here is older than what is there
    shutil.rmtree(folder)
