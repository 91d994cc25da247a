"""Sweeps in a store: the directory of a sweep is copied there while it runs, so that another machine can resume it.

The copy can be resumed at any moment: ``trials.jsonl`` follows the configuration of each run that it names, and the study,
which may contain more trials but not fewer. The uploader of a sweep copies no running trials (each has its own uploader), but
the rest of finished ones, and those that have not started.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Hashable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from deit.errors import UserError
from deit.files import signature
from deit.machine import locks
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import DONE, Trial
from deit.storage.mirror_base import LOCK, SNAPSHOTS, Folder
from deit.storage.run_mirror import Mirror

BUSY = 30.0  # seconds to wait while another process writes the study


class SweepMirror(Folder):
    """The directory of one sweep and its copy, and the parts of its trials' runs that no other uploader copies."""

    def __init__(self, sweep: SweepDirectory, address: str) -> None:
        self.sweep = sweep
        self._settled: set[int] = set()  # finished trials whose runs were completely copied at the last check
        super().__init__(sweep.path, address)

    def missing(self) -> list[str]:
        return super().missing() + [name for mirror in self._runs(self.sweep.read_trials()) for name in mirror.missing()]

    def send(self) -> int:
        sweep = self.sweep
        # In this order: a study that was read later contains every trial of the list.
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
            named = named and (mirror.has(mirror.run.config) or not mirror.run.config.exists())  # it may have been removed
            if trial.state in DONE and not mirror.missing():
                self._settled.add(trial.number)
        if self._study_copy.exists():
            count += self._put(self._name(sweep.study), self._study_copy, mark)
        if named:  # otherwise the uploader of a run has not copied it yet
            count += self._put_all(snapshot)
        count += self._put_all(self._named([sweep.summary_csv, sweep.summary_md, sweep.report]))
        shutil.rmtree(self.path / SNAPSHOTS, ignore_errors=True)
        if not count:
            self._settled.clear()  # check again for new files, such as an export
        return count

    def news(self) -> Hashable:
        sweep = self.sweep
        return tuple(map(signature, (sweep.trials, sweep.summary_csv, sweep.summary_md, sweep.report)))

    def accompanied(self) -> bool:
        return self.sweep.is_worked_on()

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
        """A consistent snapshot of the study while it is being written."""
        self._study_copy.parent.mkdir(exist_ok=True)
        try:
            with (
                closing(sqlite3.connect(self.sweep.study, timeout=BUSY)) as study,
                closing(sqlite3.connect(self._study_copy)) as copied,
            ):
                study.backup(copied)
        except sqlite3.Error as error:
            raise UserError(f"{self.sweep.study}: the study cannot be copied ({error}).", exit_code=1) from None

    def _local(self) -> Iterator[str]:
        return (self._name(file) for file in self.sweep.files if file.is_file())


def run_address(sweep_address: str, trial: Trial) -> str:
    """The address of a trial's run, next to the sweep at ``sweep_address``."""
    run = trial.directory.path
    return f"{sweep_address.rsplit('/', 2)[0]}/{run.parent.name}/{run.name}"
