"""One run from its configuration to its exit code: look, make the run directory, work on it.

``work`` is also what the process of a sweep's trial does with a run directory that was made for it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from deit.config import frozen
from deit.config.schema import RunConfig
from deit.config.tasks import CompareTask, PredictTask
from deit.files import read_json, write_json
from deit.launching.nodes import Machines, Meeting
from deit.launching.supervisor import Supervisor
from deit.machine import environment
from deit.machine.cards import leased
from deit.preflight import networks
from deit.preflight.prepare import prepare
from deit.runs import status
from deit.runs.create import common, create
from deit.runs.directory import RunDirectory
from deit.runs.lock import locked
from deit.storage.uploader_process import Uploader


def run_task(config: RunConfig, overrides: list[str]) -> int:
    """Run a task to its end; returns the exit code (0, 1, 2, 130, 143).

    Raises UserError, before anything is written, for what is wrong with the configuration on this machine.
    """
    config = prepare(config)
    resumed = RunDirectory(config.resume) if config.resume else None
    with leased(config.hardware, holder=f"a run of {config.name}, process {os.getpid()}") as cards:
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
