"""The checkpoint from which a run resumes: the newest undamaged one, the same on all ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deit.engine.distributed import sum_over_ranks
from deit.engine.recorder import Report
from deit.engine.saver import record
from deit.engine.state import Parts
from deit.errors import UserError
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory


@dataclass(frozen=True)
class Restored:
    """A checkpoint that has been read and is undamaged."""

    name: str
    step: int
    state: dict[str, Any]  # state.json
    parts: Parts


def newest(run: RunDirectory, report: Report, rank: int, world: int) -> Restored | None:
    """The newest undamaged checkpoint of ``run``, None if there is no checkpoint. All ranks call it together.

    Newer damaged ones are renamed (``checkpoint.set_aside``) and reported. If the run was killed right after its last
    checkpoint, ``best.json`` and the record in the journal are completed. Raises UserError if all checkpoints are damaged, or
    if a rank does not see the checkpoint of rank 0.
    """
    found = _mend(run, report) if rank == 0 else None
    number = round(sum_over_ranks([found + 1 if found is not None else 0], world)[0])
    if number == 0:
        return None
    path = run.checkpoints / checkpoint.folder_name(number - 1)
    if not path.is_dir():
        raise UserError(
            f"rank {rank} sees no {path}, rank 0 does: all machines must see the same run directory to resume.", exit_code=1
        )
    state = checkpoint.read_state(path)
    parts = {name: checkpoint.read_part(path, name) for name in (file.removesuffix(".safetensors") for file in state["files"])}
    return Restored(path.name, state["step"], state, parts)


def _mend(run: RunDirectory, report: Report) -> int | None:
    """Make the newest undamaged checkpoint the newest one; returns its step."""
    path, damaged = checkpoint.newest_whole(run)
    if path is None:
        return None
    state = checkpoint.read_state(path)
    step: int = state["step"]
    newer = sorted((folder for folder in run.checkpoints.glob("step_*") if folder.name > path.name), reverse=True)
    for folder, error in zip(newer, damaged, strict=True):
        aside = checkpoint.set_aside(folder)
        report.warn(
            "damaged_checkpoint",
            step,
            f"{error} The run resumes from {path.name}; the damaged checkpoint is kept as {aside.name}.",
            checkpoint=folder.name,
            kept_as=aside.name,
        )
    checkpoint.point_at_best(run, state["best"])
    if report.last_checkpoint < step:
        record(report, run, step, path.name, state["best"])
    return step
