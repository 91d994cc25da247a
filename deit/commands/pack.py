"""``task=pack``: the images of class folders in a few large files, which are faster to read and easier to copy.

It creates no run directory. Shards are written in parallel into OUTPUT.part, and each is read back and compared with its
source; the folder gets its name when all are done. So OUTPUT is always complete, and after a kill the same command continues
with the finished shards. Tars are written by threads, MindRecord by processes with MindSpore.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deit.commands.of_images import looks_at_images_alone
from deit.commands.task import Task
from deit.compose import rules
from deit.compose.unused_keys import Unused
from deit.config.schema import DataConfig, RunConfig
from deit.config.tasks import PackTask
from deit.console import console
from deit.data import packed
from deit.data.datasets import open_dataset
from deit.data.folder import ImageFolder
from deit.data.shard import Source, Written, sample_key, write_tar
from deit.data.source import whole_of
from deit.data.workers import workers_of
from deit.errors import UserError
from deit.files import read_json, write_json
from deit.lookup.base_run import References
from deit.machine import locks
from deit.machine.cards import cores
from deit.machine.processes import tail
from deit.machine.python import python_environment
from deit.progress_bar import Bars, progress_bars
from deit.runs.directory import shown
from deit.runs.task_output import new_folder
from deit.storage.data_cache import stage
from deit.text import byte_size, ended_text

STATE = ".pack"  # in OUTPUT.part: the lock, the plan, and a record of each finished shard
CHUNK = 256  # files per thread and turn when sizes are read


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


class Writer(Protocol):
    def __call__(self, path: Path, sources: Sequence[Source], advance: Callable[[int], Any]) -> Written: ...


class _Stopped(Exception):
    """Another shard has failed, or the user has stopped it."""


class Pack(Task[PackTask]):
    is_trial = False

    def refuses(self, named: References) -> list[str]:
        return looks_at_images_alone("pack", named)

    def rules(self, config: RunConfig) -> list[str]:
        if config.data.source == "imagefolder":
            return rules.data(config)
        return [
            f"data.source is {config.data.source}, but task=pack packs image files in class folders; give data=imagenet, or "
            "data=imagefolder data.root=FOLDER."
        ]

    def unused(self, found: Unused) -> None:
        super().unused(found)
        found.all_but("data", "name", "source", "root", "format", "num_classes", "train_size", "val_size", "workers")
        found.with_task("seed", "name", "runs_dir", "weights_dir")

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:
        return config  # opening and reading the data is the task itself

    def dry_run(self, config: RunConfig, typed: list[str]) -> int:
        task = self.of(config)
        kind = f"{task.format} shards of at most {task.shard_mb} MB"
        console().print(f"dry run: would write {new_folder(task.output, may_be_empty=True)}: {kind}, of {_count(config)}")
        return 0

    def run(self, config: RunConfig, typed: list[str]) -> int:
        return pack(config, self.of(config))


def pack(config: RunConfig, task: PackTask) -> int:
    """Write the folder ``task.output`` and print its content; returns the exit code, 0.

    Raises UserError: before anything is written if there is nothing to pack, not enough disk space, or the folder exists; with
    exit code 1 if a file cannot be read or written.
    """
    output = new_folder(task.output, may_be_empty=True)
    stage(config.data)
    folders = _folders(config.data)
    part = output.with_name(f"{output.name}.part")
    with progress_bars() as bars:
        stats = {split: _stats(folder, split, workers_of(config.data, cards=1), bars) for split, folder in folders.items()}
        jobs = [job for split in folders for job in _jobs(split, stats[split][:, 0], task.shard_mb * 10**6)]
        with _held(part, output) as lock:
            _same_plan(part, task, folders, stats)
            done = _done(part, jobs, task.format)
            if done:
                console().print(f"{shown(part)}: resuming after {len(done)} of {len(jobs)} shards")
            with _keeping(part, task.output, jobs):
                _check_room(output, sum(int(s[:, 0].sum()) for s in stats.values()) - sum(r["bytes"] for r in done.values()))
                _write(part, [job for job in jobs if job not in done], folders, stats, config, task.format, lock, bars)
                described = _describe(part, jobs, folders, stats, task.format)
                part.rename(output)
        shutil.rmtree(output / STATE)
    _say(output, described, folders, stats, config.data)
    return 0


def _folders(data: DataConfig) -> dict[str, ImageFolder]:
    """Both splits, complete. Raises UserError if they are not class folders."""
    whole = dataclasses.replace(data, train_limit=None, val_limit=None)
    folders = {}
    for split in packed.SPLITS:
        folder = whole_of(open_dataset(whole, train=split == "train"))
        if not isinstance(folder, ImageFolder):
            raise UserError(f"data.root: {data.root} is already packed; give the original class folders.")
        folders[split] = folder
    return folders


def _count(config: RunConfig) -> str:
    try:
        return " and ".join(f"{len(folder):,} images of {folder.place}" for folder in _folders(config.data).values())
    except UserError as error:  # a recipe may be shown on a machine without its data
        return f"data={config.data.name}; not counted: {error}"


def _stats(folder: ImageFolder, split: str, workers: int, bars: Bars) -> NDArray[Any]:
    """Bytes and modification time (nanoseconds) of each image, int64 [N, 2]."""
    found = np.zeros((len(folder), 2), np.int64)
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
    return found


def _jobs(split: str, sizes: NDArray[Any], most: int) -> list[Job]:
    """Cut a split, in order, into shards of at most ``most`` bytes of images."""
    starts, filled = [0], 0
    for row, size in enumerate(sizes.tolist()):
        if filled + size > most and row > starts[-1]:
            starts.append(row)
            filled = 0
        filled += size
    ends = [*starts[1:], len(sizes)]
    return [Job(split, number, range(*rows)) for number, rows in enumerate(zip(starts, ends, strict=True))]


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


def _same_plan(part: Path, task: PackTask, folders: dict[str, ImageFolder], stats: dict[str, NDArray[Any]]) -> None:
    """Record what is packed. Raises UserError if existing shards were made from something else."""
    digest = hashlib.sha256(json.dumps([task.format, task.shard_mb, *(f.classes for f in folders.values())]).encode())
    for split, folder in folders.items():
        for array in (folder.names, folder.labels, stats[split]):
            digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    plan, there = {"images_sha256": digest.hexdigest()}, read_json(part / STATE / "plan.json")
    if there is not None and there != plan:
        raise UserError(
            f"task.output: {part} has shards of an unfinished task=pack, but the images, task.format or task.shard_mb have "
            "changed; remove it."
        )
    write_json(part / STATE / "plan.json", plan)


def _done(part: Path, jobs: list[Job], format: str) -> dict[Job, dict[str, Any]]:
    found = {}
    for job in jobs:
        record, path = read_json(job.record(part)), part / job.split / job.file(format)
        if record is not None and path.is_file() and path.stat().st_size == record["bytes"]:
            found[job] = record
    return found


def _check_room(output: Path, needed: int) -> None:
    disk = os.statvfs(output.parent)
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        raise UserError(
            f"task.output: {byte_size(free)} are free in {output.parent}, but the images that are still to be packed have "
            f"{byte_size(needed)}; free some space, or give another folder."
        )


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


def _write(
    part: Path,
    jobs: list[Job],
    folders: dict[str, ImageFolder],
    stats: dict[str, NDArray[Any]],
    config: RunConfig,
    form: str,
    lock: int,
    bars: Bars,
) -> None:
    """Write and check the shards, and a record of each. Raises the error of the first that fails."""
    at_once = max(1, min(workers_of(config.data, cards=1), len(jobs)))
    if form == "mindrecord":  # each writer is a process with MindSpore
        at_once = min(at_once, cores())
    processes = [MindRecordProcess(part / STATE / f"writer-{n}.log", lock) for n in range(at_once)]
    writers: queue.SimpleQueue[Writer] = queue.SimpleQueue()
    for number in range(at_once):
        writers.put(write_tar if form == "tar" else processes[number])
    bar_of = {split: bars.add(split, sum(len(j.rows) for j in jobs if j.split == split)) for split in folders}
    stop = threading.Event()

    def shard(job: Job) -> None:
        def advance(count: int) -> None:
            if stop.is_set():
                raise _Stopped
            bar_of[job.split].advance(count)

        advance(0)
        path = part / job.split / job.file(form)
        sources = _sources(folders[job.split], stats[job.split][:, 0], job.rows)
        writer = writers.get()
        try:
            written = writer(path, sources, advance)
        finally:
            writers.put(writer)
        size, sha256 = _read_back(path, sources, written)
        write_json(job.record(part), {"bytes": size, "sha256": sha256, "offsets": written.offsets})

    pool = ThreadPoolExecutor(at_once, thread_name_prefix="shards")
    try:
        for ended in as_completed([pool.submit(shard, job) for job in jobs]):
            ended.result()
    finally:
        stop.set()
        for process in processes:  # their threads wait for them
            process.close()
        pool.shutdown(wait=True, cancel_futures=True)
        for process in processes:  # one may have been started meanwhile
            process.close()


def _sources(folder: ImageFolder, sizes: NDArray[Any], rows: range) -> list[Source]:
    found = []
    for row in rows:
        label, name = int(folder.labels[row]), os.fsdecode(folder.names[row].item())
        found.append(Source(row, label, f"{folder.classes[label]}/{name}", folder.describe(row), int(sizes[row])))
    return found


def _read_back(path: Path, sources: Sequence[Source], written: Written) -> tuple[int, str]:
    """The shard's bytes and checksum. Raises UserError (exit code 1) if an image is missing or differs."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for source, offset, digest in zip(sources, written.offsets, written.digests, strict=True):
            if hashlib.sha256(os.pread(descriptor, source.size, offset)).hexdigest() != digest:
                raise UserError(
                    f"{path}: {source.name} differs when read back; the disk or memory may be faulty.",
                    exit_code=1,
                )
        return os.fstat(descriptor).st_size, packed.checksum(descriptor, str(path), lambda count: None)
    finally:
        os.close(descriptor)


def _describe(
    part: Path, jobs: list[Job], folders: dict[str, ImageFolder], stats: dict[str, NDArray[Any]], format: str
) -> packed.Description:
    """Write the index of each split, then dataset.json. Raises UserError if the shards do not contain all images."""
    splits = {}
    for split, folder in folders.items():
        index = np.zeros(len(folder), packed.index_type(folder.names.dtype.itemsize))
        index["shard"] = -1
        index["length"], index["label"], index["name"] = stats[split][:, 0], folder.labels, folder.names
        shards = []
        for job in (job for job in jobs if job.split == split):
            record, rows = read_json(job.record(part)), slice(job.rows.start, job.rows.stop)
            index["shard"][rows], index["offset"][rows] = job.number, record["offsets"]
            shards.append(packed.Shard(job.file(format), len(job.rows), record["bytes"], record["sha256"]))
        if (index["shard"] < 0).any() or sum(shard.images for shard in shards) != len(folder):
            raise UserError(f"{part / split}: does not contain all {len(folder)} images.", exit_code=1)
        content = io.BytesIO()
        np.save(content, index)
        with open(part / split / packed.INDEX, "wb") as file:
            file.write(content.getvalue())
            file.flush()
            os.fsync(file.fileno())
        splits[split] = packed.Split(len(folder), hashlib.sha256(content.getvalue()).hexdigest(), shards)
    described = packed.Description(format, folders["train"].classes, splits)
    write_json(part / packed.DESCRIPTION, described.as_json())
    return described


def _say(
    output: Path,
    described: packed.Description,
    folders: dict[str, ImageFolder],
    stats: dict[str, NDArray[Any]],
    data: DataConfig,
) -> None:
    for split, there in described.splits.items():
        size = byte_size(int(stats[split][:, 0].sum()))
        shards = f"{len(there.shards)} {described.format} shard{'' if len(there.shards) == 1 else 's'}"
        console().print(f"{shown(output / split)}: {there.images:,} images, {size}, in {shards}")
    if described.format == "tar":
        for split, folder in folders.items():
            odd = _odd_names(folder)
            if odd:
                console().print(
                    f"{split}: WebDataset cuts names at their first dot, so it reads {odd:,} of these images as parts of one "
                    "sample or does not recognise them; data.format=tar reads them all",
                )
    console().print(f"read it with data={data.name if data.name == 'imagenet' else 'imagefolder'} data.root={shown(output)}")


def _odd_names(folder: ImageFolder) -> int:
    """Number of images whose name is not KEY.EXTENSION, or whose key is not unique."""
    odd, last = 0, None
    for row, encoded in enumerate(folder.names.tolist()):
        key = (int(folder.labels[row]), sample_key(os.fsdecode(encoded)))
        odd += key == last or encoded.count(b".") != 1
        last = key
    return odd


class MindRecordProcess:
    """A process that writes MindRecord shards, started for the first one."""

    def __init__(self, log: Path, lock: int) -> None:
        self.log, self.lock = log, lock
        self.process: subprocess.Popen[str] | None = None
        self.closed = False

    def __call__(self, path: Path, sources: Sequence[Source], advance: Callable[[int], Any]) -> Written:
        """As ``write_tar``; every error is a UserError with exit code 1."""
        process = self.process or self._start()
        assert process.stdin is not None and process.stdout is not None
        job = {"path": str(path), "sources": [dataclasses.astuple(source) for source in sources]}
        with contextlib.suppress(BrokenPipeError):  # it has exited; its output is read below
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        for line in process.stdout:
            answer = json.loads(line)
            if "error" in answer:
                raise UserError(answer["error"], exit_code=1)
            if "offsets" in answer:
                return Written(**answer)
            advance(answer["images"])
        if self.closed:
            raise _Stopped
        code = process.wait()
        said = tail(self.log)
        raise UserError(f"{path}: the process that writes it {ended_text(code)}." + (said and f"\n{said}"), exit_code=1)

    def _start(self) -> subprocess.Popen[str]:
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deit.data.mindrecord_shard"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={"GLOG_v": "3", **python_environment()},
                pass_fds=[self.lock],  # it keeps the lock while it lives
                start_new_session=True,  # Ctrl-C is for the launcher
            )
        return self.process

    def close(self) -> None:
        self.closed = True
        if self.process is not None:
            self.process.kill()
            self.process.wait()


TASK = Pack()
