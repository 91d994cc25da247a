"""One run from its configuration to its exit code: look, make the run directory, work on it.

``work`` is also what the process of a sweep's trial does with a run directory that was made for it.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import yaml

from deit.config import frozen
from deit.config.schema import RunConfig
from deit.config.tasks import CompareTask, PredictTask
from deit.errors import UserError
from deit.files import read_json, write_json
from deit.launching.nodes import Machines, Meeting, common
from deit.launching.supervisor import Supervisor
from deit.machine import cards as hardware
from deit.machine import environment, processes
from deit.preflight import networks
from deit.preflight.prepare import prepare
from deit.runs import directory, status
from deit.runs.directory import RunDirectory
from deit.storage.uploader_process import Uploader

GLANCE = 3.0  # seconds; who only looks whether a run is dead (``deit.tracking.stale``) has its lock for a moment, too
ORPHANS = 120.0  # seconds that workers whose launcher was killed have to write a checkpoint and end


def run_task(config: RunConfig, overrides: list[str]) -> int:
    """Run a task to its end; returns the exit code (0, 1, 2, 130, 143).

    Raises UserError, before anything is written, for what is wrong with the configuration on this machine.
    """
    config = prepare(config)
    resumed = RunDirectory(config.resume) if config.resume else None
    with hardware.leased(config.hardware, holder=f"a run of {config.name}, process {os.getpid()}") as cards:
        meeting = Meeting(config)
        run = resumed or (meeting.join() if meeting.joins else create(config, overrides))
        with locked(run, config.hardware.node_rank):
            if resumed and not config.hardware.node_rank:
                frozen.save(common(config), run.config)
            meeting.announce(run)
            try:
                return work(run, config, cards, overrides)
            finally:
                meeting.end()


def create(config: RunConfig, overrides: list[str], circumstances: dict[str, Any] | None = None) -> RunDirectory:
    """Make the run directory and freeze into it what is about to run.

    ``circumstances`` go into ``environment.json``: of a trial the sweep (id, overrides, swept) and the command.
    """
    run = directory.create(config.runs_dir, config.name)
    frozen.save(common(config), run.config)
    run.overrides.write_text(yaml.safe_dump(overrides), encoding="utf-8")
    if circumstances:
        write_json(run.environment, circumstances)
    return run


def work(run: RunDirectory, config: RunConfig, cards: Sequence[int], overrides: Sequence[str] = ()) -> int:
    """Start the workers on a locked run directory and see them through; returns the exit code.

    ``cards`` are those of this machine that the workers take. ``overrides`` are noted where the run goes on.
    """
    machines = Machines(run, config.hardware)
    if machines.first:
        _describe(run, config, cards, overrides)
        status.write(run, status.Status(launcher_pid=os.getpid()))
    uploader = Uploader(run, config)
    uploader.start()
    try:
        if isinstance(config.task, PredictTask) and config.task.model is not None and networks.is_onnx(config.task.model):
            return networks.predict_onnx(run, config)
        if isinstance(config.task, CompareTask):
            from deit.commands.compare import compare  # here: it is a launcher of parts, each supervised as a run is

            return compare(run, config, cards)
        return Supervisor(run, config, cards, machines, uploader).execute()
    finally:
        uploader.finish()


def _describe(run: RunDirectory, config: RunConfig, cards: Sequence[int], overrides: Sequence[str]) -> None:
    """Note in ``environment.json`` where the run is at work now."""
    described = environment.describe(config) | ({"card_ids": list(cards)} if cards else {})
    first = read_json(run.environment) or {}
    if "host" in first:  # of an earlier start
        described = first | {"resumes": [*first.get("resumes", []), described | {"overrides": list(overrides)}]}
    else:
        described |= first
    write_json(run.environment, described)


@contextmanager
def locked(run: RunDirectory, node_rank: int | None = None, *, patient: bool = True) -> Iterator[None]:
    """Hold the run: no second launcher may work on the same directory, but one on each of several machines.

    ``patient``: whoever is about to leave it is waited for. Raises UserError where another has it.
    """
    with open(run.path / (f".lock_node{node_rank}" if node_rank else ".lock"), "w") as lock:
        if not _comes(lambda: _take(lock), GLANCE if patient else 0):
            raise UserError(f"resume={run}: this run is still being worked on by another launch.")
        alive = processes.of_run(run, node_rank)
        if alive and patient:
            print(f"{run}: its launcher was killed; waiting for its processes to end: {alive}", file=sys.stderr)
            _comes(lambda: not processes.of_run(run, node_rank), ORPHANS)
            alive = processes.of_run(run, node_rank)
        if alive:
            raise UserError(f"resume={run}: processes of this run are still alive: {alive}.")
        yield


def _take(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _comes(what: Callable[[], bool], within: float) -> bool:
    """Whether ``what`` comes true within so many seconds."""
    end = time.monotonic() + within
    while not what():
        if time.monotonic() >= end:
            return False
        time.sleep(0.1)
    return True


def held(run: RunDirectory) -> bool:
    """Whether a launch works on the run, or some process of it is still alive."""
    try:
        with locked(run, patient=False):
            return False
    except UserError:
        return True
