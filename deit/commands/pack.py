"""``task=pack``: the images of class folders in a few large files, which are faster to read and easier to copy.

It creates no run directory. Shards are written in parallel into OUTPUT.part, and each is read back and compared with its
source; the folder gets its name when all are done. So OUTPUT is always complete, and after a kill the same command continues
with the finished shards. Tars are written by threads, MindRecord by processes with MindSpore.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from deit.commands.task import Task
from deit.compose import rules
from deit.compose.unused_keys import Unused
from deit.config.addresses import is_remote
from deit.config.schema import SPLIT_KEYS, DataConfig, RunConfig
from deit.config.tasks import PackTask, expect
from deit.console import console
from deit.data import packed
from deit.data.datasets import check_counts, open_dataset
from deit.data.folder import ImageFiles
from deit.data.shard import sample_key
from deit.data.source import whole_of
from deit.data.workers import workers_of
from deit.errors import UserError
from deit.machine import locks
from deit.packing.imagenet_tars import check_originals, open_tars
from deit.packing.packed_index import write_index
from deit.packing.shard_plan import STATE, Job, Packable, Split, cut, done, measured, same_plan
from deit.packing.shards import write
from deit.preflight.recipe_data import bring
from deit.progress_bar import Bars, progress_bars
from deit.runs.directory import shown
from deit.runs.task_output import check_room, new_folder
from deit.text import byte_size

CHECKED = "originals"  # in STATE: the tars of task.source have been compared with their checksums


class Pack(Task[PackTask]):
    is_trial = False
    takes = ()
    instead = "it uses only images; leave out {}."

    def rules(self, config: RunConfig) -> list[str]:
        if is_remote(self.of(config).source):
            return [f"task.source is {self.of(config).source!r}, but the tars must be in a folder of this machine."]
        if config.data.source == "imagefolder":
            return rules.data(config)
        return [
            f"data.source is {config.data.source}, but task=pack packs image files in class folders; give data=imagenet, or "
            "data=imagefolder data.root=FOLDER."
        ]

    def unused(self, found: Unused) -> None:
        found.all_but(
            "data", "name", "source", "root", "format", *SPLIT_KEYS, "num_classes", "train_size", "val_size", "workers"
        )
        found.with_task("seed", "name", "runs_dir", "weights_dir")
        of_tars = ("root", "format", "cache_dir", *SPLIT_KEYS)
        found.add(self.of(found.config).source is not None, "with task.source", *(f"data.{key}" for key in of_tars))

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:
        output = new_folder(self.of(config).output, may_be_empty=True)
        if self.of(config).source is not None or bring(config):
            with progress_bars() as bars:
                splits = _measured(config, bars)
            _check_room(output, splits, sum(file.stat().st_size for file in _part(output).glob("*/*") if file.is_file()))
        return config

    def outline(self, config: RunConfig, *, starts: bool) -> None:
        task = self.of(config)
        kind = f"{task.format} shards of at most {task.shard_mb} MB"
        console().print(f"would write {task.output}: {kind}, of {_count(config)}")

    def run(self, config: RunConfig, typed: list[str]) -> int:
        """Write the folder ``task.output`` and print its content; returns the exit code, 0.

        Raises UserError: before anything is written if there is nothing to pack, not enough disk space, or the folder exists;
        with exit code 1 if a file cannot be read or written.
        """
        task = self.of(config)
        output = new_folder(task.output, may_be_empty=True)
        if task.source is None:
            bring(config)
        part = _part(output)
        with progress_bars() as bars:
            splits = _measured(config, bars)
            jobs = [job for split, images in splits.items() for job in cut(split, images.sizes, task.shard_mb * 10**6)]
            with _held(part, output) as lock:
                same_plan(part, task, splits)
                if task.source is not None and not (part / STATE / CHECKED).exists():
                    check_originals(Path(task.source), bars)
                    (part / STATE / CHECKED).touch()
                there = done(part, jobs, task.format)
                if there:
                    console().print(f"{shown(part)}: resuming after {len(there)} of {len(jobs)} shards")
                with _keeping(part, task.output, jobs):
                    _check_room(output, splits, sum(record["bytes"] for record in there.values()))
                    write(part, [job for job in jobs if job not in there], splits, config.data, task.format, lock, bars)
                    described = write_index(part, jobs, splits, task.format)
                    part.rename(output)
            shutil.rmtree(output / STATE)
        _say(output, described, splits, config.data)
        return 0


def _part(output: Path) -> Path:
    """Where the shards are until all are written."""
    return output.with_name(f"{output.name}.part")


def _measured(config: RunConfig, bars: Bars) -> dict[str, Split]:
    workers = workers_of(config.data, cards=1)
    return {split: measured(folder, split, workers, bars) for split, folder in _folders(config, bars).items()}


def _check_room(output: Path, splits: dict[str, Split], packed_before: int) -> None:
    needed = sum(int(images.sizes.sum()) for images in splits.values()) - packed_before
    check_room(output, needed, "the images that are still to be packed")


def _folders(config: RunConfig, bars: Bars) -> dict[str, Packable]:
    """Both splits, complete. Raises UserError if they are neither class folders nor a list, nor the tars of task.source."""
    data, source = config.data, expect(config.task, PackTask).source
    whole = dataclasses.replace(data, train_limit=None, val_limit=None)
    if source is not None:
        tars = open_tars(source, whole, bars)
        for split in packed.SPLITS:
            check_counts(tars[split], whole, train=split == "train")
        return dict(tars)
    folders: dict[str, Packable] = {}
    for split in packed.SPLITS:
        folder = whole_of(open_dataset(whole, train=split == "train"))
        if not isinstance(folder, ImageFiles):
            raise UserError(f"data.root: {data.root} is already packed; give the original class folders.")
        folders[split] = folder
    return folders


def _count(config: RunConfig) -> str:
    try:
        with progress_bars() as bars:
            folders = _folders(config, bars)
        return " and ".join(f"{len(folder):,} images of {folder.place}" for folder in folders.values())
    except UserError as error:
        return f"data={config.data.name}; not counted: {error}"


@contextlib.contextmanager
def _held(part: Path, output: Path) -> Iterator[int]:
    """Create and lock OUTPUT.part; yields the lock, which the writing processes inherit."""
    try:
        for name in (STATE, *packed.SPLITS):
            (part / name).mkdir(parents=True, exist_ok=True)
        lock = os.open(part / STATE / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UserError(f"task.output: {part} could not be created ({error.strerror}).") from None
    try:
        if not locks.take(lock):
            raise UserError(f"task.output: another task=pack is writing {part}; wait for it, or give another name.")
        new_folder(str(output), may_be_empty=True)  # another may just have finished it
        yield lock
    finally:
        os.close(lock)


@contextlib.contextmanager
def _keeping(part: Path, output: str, jobs: list[Job]) -> Iterator[None]:
    """When writing ends early: report what is kept, or remove the folder if nothing is worth keeping."""

    def kept() -> str:
        count = sum(job.record(part).exists() for job in jobs)
        if count == 0:
            shutil.rmtree(part, ignore_errors=True)
            return "Nothing was kept."
        return f"{shown(part)} keeps {count} of {len(jobs)} shards: the same command continues with them."

    try:
        yield
    except KeyboardInterrupt:
        console(stderr=True).print(f"interrupted. {kept()}")
        raise
    except OSError as error:
        raise UserError(f"task.output={output}: could not be written ({error.strerror}).\n{kept()}", exit_code=1) from error
    except UserError as error:
        raise UserError(f"{error}\n{kept()}", exit_code=error.exit_code) from error


def _say(output: Path, described: packed.Description, splits: dict[str, Split], data: DataConfig) -> None:
    for split, there in described.splits.items():
        size = byte_size(int(splits[split].sizes.sum()))
        shards = f"{len(there.shards)} {described.format} shard{'' if len(there.shards) == 1 else 's'}"
        console().print(f"{shown(output / split)}: {there.images:,} images, {size}, in {shards}")
    if described.format == "tar":
        for split, images in splits.items():
            odd = _odd_names(images)
            if odd:
                console().print(
                    f"{split}: WebDataset cuts names at their first dot, so it reads {odd:,} of these images as parts of one "
                    "sample or does not recognise them; data.format=tar reads them all",
                )
    console().print(f"read it with data={data.name if data.name == 'imagenet' else 'imagefolder'} data.root={shown(output)}")


def _odd_names(images: Split) -> int:
    """Number of images whose name is not KEY.EXTENSION, or whose key is not unique."""
    odd, last = 0, None
    for row, encoded in enumerate(images.names.tolist()):
        key = (int(images.folder.labels[row]), sample_key(os.fsdecode(encoded)))
        odd += key == last or encoded.count(b".") != 1
        last = key
    return odd


TASK = Pack()
