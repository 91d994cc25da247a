"""Whether a run has anything left to resume."""

from __future__ import annotations

from typing import Any

from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.recipe.monitor import monitor_of
from deit.recipe.plan import plan
from deit.runs import checkpoint, status
from deit.runs.checkpoint import Damaged
from deit.runs.directory import RunDirectory


def check_unfinished(config: RunConfig) -> None:
    """Raises UserError if ``config.resume`` has nothing left to do, naming the key that limits it.

    A run that was interrupted in its last evaluation, or before its results were recorded, has.
    """
    assert config.resume is not None
    run = RunDirectory(config.resume)
    state = _newest(run)
    if state is None:
        return
    done, planned = state["step"], plan(config, state["train_images"])
    if done > planned.total_steps:
        key = "schedule.max_steps" if config.schedule.max_steps == planned.total_steps else "schedule.epochs"
        value = config.schedule.max_steps if key == "schedule.max_steps" else config.schedule.epochs
        raise UserError(
            f"{key}={value} ends the training with step {planned.total_steps}, but {run} has done {done} "
            f"({done / planned.steps_per_epoch:.1f} epochs); give more, or start a new run."
        )
    if done == planned.total_steps and status.finished(run):
        raise UserError(
            f"resume={run}: the run has already finished step {done} of {planned.total_steps}. "
            "To train longer give a larger schedule.epochs (or schedule.max_steps)."
        )
    _check_patience(config, run, state)


def _check_patience(config: RunConfig, run: RunDirectory, state: dict[str, Any]) -> None:
    monitor = monitor_of(config)
    waited = monitor.stalled(state.get("best") or {}, state.get("last") or {})
    if waited is not None and status.finished(run):
        raise UserError(
            f"resume={run}: the run has stopped early, because {monitor.key} has not improved for {waited} epochs "
            f"(schedule.patience={monitor.patience}). To train longer give a larger schedule.patience, or null."
        )


def _newest(run: RunDirectory) -> dict[str, Any] | None:
    for path in reversed(checkpoint.complete(run)):
        try:
            return checkpoint.read_state(path)
        except Damaged:
            continue  # the worker falls back to an older one, with a message
    return None
