"""What the tasks on weights of run= or checkpoint= reject and ignore: evaluate, convert, export."""

from __future__ import annotations

from pathlib import Path

from deit.compose.unused_keys import Unused
from deit.lookup.base_run import References


def needs_one(task: str, named: References) -> list[str]:
    """Exactly one of run and checkpoint is required."""
    if named.resume is not None:
        return [f"{named} with task={task}: resume continues a training; give run= or checkpoint= instead."]
    if len(named.given) != 1:
        found = f"both are given ({named})" if named.given else "neither is given"
        return [f"task={task} needs either run (a run directory, `last`, an MLflow run id) or checkpoint, but {found}."]
    return []


def unused_for_reading(found: Unused) -> None:
    """Keys that are unused when weights are read and nothing is trained or tracked."""
    config = found.config
    found.tracked_metrics()
    found.trained_model()
    found.with_task("model.attention")
    found.add(config.run is None, "without run=", "task.which")
    is_folder = config.checkpoint is None or Path(config.checkpoint).is_dir()
    found.add(not is_folder, "with checkpoint=FILE, which has one set of weights", "task.weights")
