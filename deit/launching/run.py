"""One run from its prepared configuration to its exit code: create, lock and work on the run directory.

The process of a sweep's trial also uses ``work_on``, with an existing run directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from deit.config import frozen
from deit.config.addresses import is_remote, runs_copy
from deit.config.schema import RunConfig
from deit.launching.nodes import Machines, Meeting
from deit.machine import environment, locks
from deit.machine.cards import leased
from deit.machine.companion import Companion
from deit.machine.python import msrun
from deit.runs import circumstances, status
from deit.runs.create import common, create
from deit.runs.directory import RunDirectory, check_new_folder
from deit.runs.lock import locked
from deit.runs.recorded_split import without_recorded
from deit.storage.uploader_process import Uploader


@dataclass(frozen=True)
class Start:
    """A locked run directory, and the ``cards`` of this machine that the task may use."""

    run: RunDirectory
    config: RunConfig
    cards: Sequence[int]
    machines: Machines
    uploader: Companion | None = None


Work = Callable[[Start], int]  # works until the run has ended; returns the exit code


def run_task(config: RunConfig, overrides: list[str], work: Work, unused: Collection[str] = ()) -> int:
    """Run a task with a prepared configuration; returns the exit code (0, 1, 2, 130, 143). ``unused`` are its unused keys."""
    resumed = RunDirectory(config.resume) if config.resume else None
    with leased(config.hardware, holder=f"a run of {config.name}, process {os.getpid()}") as cards:
        meeting = Meeting(config)
        check_place(config)
        run = resumed or (meeting.join() if meeting.joins else create(config, overrides, unused=unused))
        with locked(run, config.hardware.node_rank):
            if resumed and not config.hardware.node_rank:
                frozen.save(common(without_recorded(config, run)), run.config)
            meeting.announce(run)
            try:
                return work_on(run, config, cards, work, overrides)
            finally:
                meeting.end()


def check_start(config: RunConfig) -> None:
    """All that ``run_task`` refuses before anything is written, of a prepared configuration. Raises UserError."""
    with leased(config.hardware, holder=f"a dry run, process {os.getpid()}"):
        check_place(config)
        if config.resume is not None:
            with locked(RunDirectory(config.resume), config.hardware.node_rank):
                pass


def check_place(config: RunConfig) -> None:
    """Whether processes can be started and a run directory be made and locked here. Raises UserError."""
    if config.hardware.cards * config.hardware.nodes > 1:
        msrun()
    locks.check(Path.cwd() if is_remote(config.runs_dir) else Path(config.runs_dir))
    if config.resume is None:
        check_new_folder(runs_copy(config.runs_dir), config.name)


def work_on(run: RunDirectory, config: RunConfig, cards: Sequence[int], work: Work, overrides: Sequence[str] = ()) -> int:
    """Do ``work`` on a locked run directory; returns the exit code.

    ``cards`` are those of this machine for the workers. ``overrides`` are recorded if the run is resumed.
    """
    machines = Machines(run, config.hardware)
    if machines.first:
        circumstances.note_launch(run, environment.describe(config, cards), list(overrides))
        status.write(run, status.Status(launcher_pid=os.getpid()))
    uploader = Uploader(run, config)
    uploader.start()
    try:
        return work(Start(run, config, cards, machines, uploader))
    finally:
        uploader.finish()
