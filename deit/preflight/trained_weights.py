"""The weights of run= or checkpoint=."""

from __future__ import annotations

from pathlib import Path

from deit.config.schema import RunConfig
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.weights.find import files_of_checkpoint


def files_to_load(config: RunConfig, which: str) -> tuple[str, dict[str, Path]]:
    """The key that names them, and their files by the prefix of their metrics; ``which`` checkpoint of a run.

    Raises UserError if there are none.
    """
    if config.run is not None:
        return "run", checkpoint.weights_of_run(RunDirectory(config.run), which)
    assert config.checkpoint is not None  # checked by a rule of the task
    return "checkpoint", files_of_checkpoint(config.checkpoint, config)
