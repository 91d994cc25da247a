"""Run directories before a worker has started: what the launcher writes, for tests of the worker's parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from composition import composed
from launching import SMALL

from deit.config import frozen
from deit.engine.recorder import Report
from deit.engine.saver import Saver
from deit.runs import directory
from deit.runs.directory import RunDirectory
from deit.runs.journal import read

WEIGHTS = {"a": np.arange(6, dtype=np.float32)}


def prepared(folder: Path, name: str, *extra: str) -> RunDirectory:
    """The directory of a small run, as the launcher leaves it to the worker."""
    config = composed(
        *SMALL, "tracking=none", "hardware=cpu", "hardware.jit=false", "schedule.epochs=2", f"name={name}", *extra
    )
    run = directory.create(folder, name)
    frozen.save(config, run.config)
    return run


def saver_of(run: RunDirectory, report: Report) -> Saver:
    """The writer of checkpoints, for 8 steps per epoch."""
    return Saver(run, frozen.load(run.config).checkpointing, report, 8, writes=True)


def events(run: RunDirectory, kind: str) -> list[dict]:
    """The journal's events of a kind."""
    return [record for _, record in read(run.journal) if record.get("event") == kind]


def flip(path: Path) -> None:
    """Damage a file: flip one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
