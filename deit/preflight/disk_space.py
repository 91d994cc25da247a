"""Whether the disk has space for the checkpoints of a training, checked before it starts."""

from __future__ import annotations

from pathlib import Path

from deit.config.addresses import runs_copy
from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.files import free_below
from deit.models.freezing import trained_count
from deit.models.shapes import parameter_count
from deit.runs.directory import RunDirectory
from deit.text import byte_size

MOMENTS = {"adamw": 2, "lamb": 2, "sgd": 1}  # weight-sized arrays in the optimizer's state


def checkpoint_bytes(config: RunConfig) -> int:
    """Bytes of one checkpoint: weights, moving average and moments, float32."""
    assert config.data.num_classes is not None  # set by the data check
    weights = (1 + config.ema.enabled) * parameter_count(config.model, config.data.num_classes)
    return 4 * (weights + MOMENTS[config.optim.name] * trained_count(config.model, config.data.num_classes))


def check_space(config: RunConfig) -> None:
    """Raises UserError if the checkpoints of the training do not fit on the disk.

    They are the ``keep_last`` newest, the best raw and the best EMA weights, and one being written, minus those that a resumed
    run has already written.
    """
    best = 1 + config.ema.enabled
    count = config.checkpointing.keep_last + best + 1
    one = checkpoint_bytes(config)
    folder = Path(config.resume or runs_copy(config.runs_dir)).resolve()
    written = sum(file.stat().st_size for file in RunDirectory(folder).checkpoints.glob("step_*/*")) if config.resume else 0
    needed = max(count * one - written, one)
    free = free_below(folder)
    if free < needed:
        place = next(path for path in (folder, *folder.parents) if path.exists())
        key = "resume" if config.resume else "runs_dir"
        fitting = (free + written) // one - best - 1
        less = f", or checkpointing.keep_last={fitting}" if fitting > 0 else ""
        other = "" if config.resume else ", give another runs_dir=FOLDER"
        raise UserError(
            f"{key}={config.resume or config.runs_dir}: {byte_size(free)} are free in {place}, but the checkpoints need "
            f"{byte_size(needed)}: {count} of {byte_size(one)} (checkpointing.keep_last={config.checkpointing.keep_last}, "
            f"{best} best, 1 being written). Free some space{other}{less}."
        )
