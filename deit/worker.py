"""The worker: one process per card, working on a run directory.

    python -m deit.worker RUN_DIR

The launcher starts it, directly or through msrun; it also runs by hand, under a debugger or under a scheduler. It reads
``config.yaml`` and writes the journal, the status and checkpoints. On SIGUSR1 each process writes the Python stacks of all
its threads into its log.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sys
import time
import traceback
from typing import Any

os.environ.setdefault("GLOG_v", "3")  # read by MindSpore when it is imported: errors only

from deit.config import card_rules, frozen
from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.machine.lifeline import end_with_parent
from deit.runs import circumstances, status
from deit.runs.directory import DISK_FULL, RunDirectory
from deit.runs.outcome import FINISHED, Outcome, finished, interrupted, of_error
from deit.runs.recorded_split import with_recorded

LAST_WORD = 60.0  # seconds that a slow disk may take to sync the journal and the status


def main(arguments: list[str]) -> int:
    """Work on a run directory; returns the exit code (0, 1, 2, 130, 143)."""
    if len(arguments) != 1:
        print("usage: python -m deit.worker RUN_DIR", file=sys.stderr)
        return 2
    # `kill -USR1 PID` writes the stacks of all threads into the log, which shows where a rank hangs.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    run = RunDirectory(arguments[0])
    try:
        config = frozen.load(run.config)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code

    if "MS_ROLE" in os.environ:
        # Under msrun. Before anything slow: ranks without their msrun would wait for each other forever.
        end_with_parent(signal.SIGKILL)

    try:
        prepare_environment(config)
    except UserError as error:
        print(error, file=sys.stderr)
        # Several processes have a launcher, which records how they ended.
        return error.exit_code if "MS_ROLE" in os.environ else status.end(run, status.read(run), of_error(error))

    import mindspore as ms

    from deit.engine import device, distributed

    set_device(ms, config)
    if distributed.is_scheduler():
        distributed.join()
        return 0
    rank, world = distributed.join()
    # The launcher watches this process, so that it notices a dead rank at once.
    (run.logs / f"worker_{rank}.pid").write_text(str(os.getpid()))
    if rank != 0:
        # Rank 0 decides when to stop and writes the checkpoint; the launcher ends the others after it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif run.environment.exists():  # not where a worker was started by hand
        circumstances.note_device(run, device.describe(config.hardware))
    return work(run, with_recorded(config, run), rank, world)


def prepare_environment(config: RunConfig) -> None:
    """Set the variables that MindSpore reads when it is imported. Raises UserError for one that hides an overflow."""
    if refused := card_rules.overflow_mode(config.hardware.target, os.environ):
        raise UserError("\n".join(refused))
    if config.hardware.target == "ascend":
        os.environ[card_rules.OVERFLOW_MODE] = card_rules.INFNAN


def set_device(ms: Any, config: RunConfig) -> None:
    """Choose the device of this process from the configuration, and how it computes; before ``distributed.join``."""
    from deit.engine import device

    hardware = config.hardware
    # Under msrun each process gets its card from the environment; the first visible one otherwise.
    ms.set_device({"cpu": "CPU", "ascend": "Ascend", "gpu": "GPU"}[hardware.target])
    ms.set_context(mode=ms.GRAPH_MODE if hardware.jit else ms.PYNATIVE_MODE)
    level = card_rules.jit_level(hardware, device.generation())
    if level is not None:
        ms.set_context(jit_config={"jit_level": level})
    if hardware.target != "cpu" and hardware.deterministic:
        ms.set_deterministic(True)  # also of the sums over ranks, which need it before they connect


def work(run: RunDirectory, config: RunConfig, rank: int, world: int) -> int:
    """Run the task and record how it ended."""
    from deit.engine.recorder import Mute, Report
    from deit.tasks.context import Context, Interrupted

    task = importlib.import_module(f"deit.tasks.{config.task.name}")
    now = status.read(run)
    now.state, now.worker_pid, now.message, now.exit_code, now.progress = status.RUNNING, os.getpid(), None, None, {}
    try:
        report = Report(run, now) if rank == 0 else Mute()
    except UserError as error:  # the journal is damaged
        print(error, file=sys.stderr)
        return status.end(run, now, of_error(error))
    context = Context(run, config, report, rank, world)
    if rank == 0:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, frame: context.stop_signals.append(received))
    report.progress(now=True, phase="starting")
    try:
        processes = config.hardware.cards * config.hardware.nodes
        if world != processes:
            raise UserError(f"{run.config} is for {processes} processes, but there are {world}. Resume it with resume=RUN.")
        report.results(task.run(context))
        outcome = finished()
    except Interrupted as stop:
        outcome = interrupted(stop.signal)
    except Exception as error:
        if isinstance(error, UserError):
            print(error, file=sys.stderr)
        else:
            traceback.print_exc()
        outcome = of_error(error)
    report.close()
    if rank == 0:
        return _record(run, now, outcome)
    if outcome.state == FINISHED:
        _await_last_word(run)
    return outcome.exit_code


def _record(run: RunDirectory, now: status.Status, outcome: Outcome) -> int:
    """Write how the run ended; returns the exit code."""
    now.outcome = outcome
    try:
        status.write(run, now)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        print(f"{run.status} cannot be written: {error.strerror}", file=sys.stderr, flush=True)
        return outcome.exit_code or 1  # nobody could see that it has finished
    return outcome.exit_code


def _await_last_word(run: RunDirectory) -> None:
    """Wait until rank 0 has recorded the end of the run: a rank that exits earlier counts as dead."""
    end = time.monotonic() + LAST_WORD
    while not status.read(run).ended and time.monotonic() < end:
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
