"""Common parts of the tasks on the weights of run= or checkpoint=: evaluate, convert, export."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from deit.commands.task import Task
from deit.compose.unused_keys import Unused
from deit.config.tasks import TaskConfig
from deit.lookup.base_run import References

Keys = TypeVar("Keys", bound=TaskConfig)


class OfWeights(Task[Keys]):
    takes = ("run", "checkpoint")
    instead = "resume continues a training; give run= or checkpoint= instead."

    def refuses(self, named: References) -> list[str]:
        if len(named.given) == 1 or named.resume is not None:
            return super().refuses(named)
        found = f"both are given ({named})" if named.given else "neither is given"
        return [f"task={self.name} needs either run (a run directory, `last`, an MLflow run id) or checkpoint, but {found}."]


def unused_for_reading(found: Unused) -> None:
    """Keys that are unused when weights are read and nothing is trained or tracked."""
    config = found.config
    found.tracked_metrics()
    found.trained_model()
    found.with_task("model.attention")
    found.add(config.run is None, "without run=", "task.which")
    is_folder = config.checkpoint is None or Path(config.checkpoint).is_dir()
    found.add(not is_folder, "with checkpoint=FILE, which has one set of weights", "task.weights")
