"""The plan of task=pack: the images of each split with their sizes, cut into shards, and which shards are finished.

``OUTPUT.part/.pack`` keeps the plan and a record of each finished shard, so that an interrupted packing continues.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deit.config.tasks import PackTask
from deit.data.folder import ImageFiles
from deit.errors import UserError
from deit.files import read_json, write_json
from deit.packing.imagenet_tars import TarredImages
from deit.progress_bar import Bars

Packable = ImageFiles | TarredImages

STATE = ".pack"  # in OUTPUT.part: the lock, the plan, and a record of each finished shard
CHUNK = 256  # files per thread and turn when sizes are read


@dataclass(frozen=True)
class Split:
    """The images of a split; ``names`` are those in their class folder [N], ``stats`` bytes and modification time (nanoseconds)
    of each, int64 [N, 2].
    """

    folder: Packable
    names: NDArray[np.bytes_]
    stats: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        return self.stats[:, 0]


@dataclass(frozen=True)
class Job:
    """The images ``rows`` of a split, for its shard ``number``."""

    split: str
    number: int
    rows: range

    def file(self, format: str) -> str:
        return f"{self.number:05d}.{format}"

    def record(self, part: Path) -> Path:
        return part / STATE / f"{self.split}-{self.number:05d}.json"


def measured(folder: Packable, split: str, workers: int, bars: Bars) -> Split:
    """The split with the sizes of its files. Raises UserError (exit code 1) if one cannot be read."""
    found = np.zeros((len(folder), 2), np.int64)
    if isinstance(folder, TarredImages):
        found[:, 0], found[:, 1] = folder.sizes, Path(folder.place).stat().st_mtime_ns
        return Split(folder, folder.names_in_class(), found)
    bar = bars.add(f"{split} sizes", len(folder))

    def look(rows: range) -> None:
        for row in rows:
            path = folder.describe(row)
            try:
                status = Path(path).stat()
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror}).", exit_code=1) from error
            found[row] = status.st_size, status.st_mtime_ns
        bar.advance(len(rows))

    with ThreadPoolExecutor(max(1, workers)) as pool:
        list(pool.map(look, (range(i, min(i + CHUNK, len(folder))) for i in range(0, len(folder), CHUNK))))
    bar.close()
    return Split(folder, folder.names_in_class(), found)


def cut(split: str, sizes: NDArray[np.int64], most: int) -> list[Job]:
    """Cut a split, in order, into shards of at most ``most`` bytes of images."""
    starts, filled = [0], 0
    for row, size in enumerate(sizes.tolist()):
        if filled + size > most and row > starts[-1]:
            starts.append(row)
            filled = 0
        filled += size
    ends = [*starts[1:], len(sizes)]
    return [Job(split, number, range(*rows)) for number, rows in enumerate(zip(starts, ends, strict=True))]


def same_plan(part: Path, task: PackTask, splits: dict[str, Split]) -> None:
    """Record what is packed. Raises UserError if existing shards were made from something else."""
    digest = hashlib.sha256(
        json.dumps([task.format, task.shard_mb, *(split.folder.classes for split in splits.values())]).encode()
    )
    for split in splits.values():
        for array in (split.names, split.folder.labels, split.stats):
            digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    plan, there = {"images_sha256": digest.hexdigest()}, read_json(part / STATE / "plan.json")
    if there is not None and there != plan:
        raise UserError(
            f"task.output: {part} has shards of an unfinished task=pack, but the images, task.format or task.shard_mb have "
            "changed; remove it."
        )
    write_json(part / STATE / "plan.json", plan)


def done(part: Path, jobs: list[Job], format: str) -> dict[Job, dict[str, Any]]:
    """The finished shards and their records."""
    found = {}
    for job in jobs:
        record, path = read_json(job.record(part)), part / job.split / job.file(format)
        if record is not None and path.is_file() and path.stat().st_size == record["bytes"]:
            found[job] = record
    return found
