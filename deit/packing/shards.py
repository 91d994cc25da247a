"""Write the shards of task=pack, several at a time, and read each back."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol

from deit.config.schema import DataConfig
from deit.data import packed
from deit.data.shard import Source, Written, write_tar
from deit.data.workers import workers_of
from deit.errors import UserError
from deit.files import write_json
from deit.machine.cards import cores
from deit.packing.imagenet_tars import TarredImages
from deit.packing.mindrecord_process import MindRecordProcess, Stopped
from deit.packing.shard_plan import STATE, Job, Split
from deit.progress_bar import Bars


class Writer(Protocol):
    def __call__(self, path: Path, sources: Sequence[Source], advance: Callable[[int], Any]) -> Written: ...


def write(
    part: Path,
    jobs: list[Job],
    splits: dict[str, Split],
    data: DataConfig,
    form: str,
    lock: int,
    bars: Bars,
) -> None:
    """Write and check the shards, and a record of each. Raises the error of the first that fails."""
    at_once = max(1, min(workers_of(data, cards=1), len(jobs)))
    if form == "mindrecord":  # each writer is a process with MindSpore
        at_once = min(at_once, cores())
    processes = [MindRecordProcess(part / STATE / f"writer-{n}.log", lock) for n in range(at_once)]
    writers: queue.SimpleQueue[Writer] = queue.SimpleQueue()
    for number in range(at_once):
        writers.put(write_tar if form == "tar" else processes[number])
    bar_of = {split: bars.add(split, sum(len(j.rows) for j in jobs if j.split == split)) for split in splits}
    stop = threading.Event()

    def shard(job: Job) -> None:
        def advance(count: int) -> None:
            if stop.is_set():
                raise Stopped
            bar_of[job.split].advance(count)

        advance(0)
        path = part / job.split / job.file(form)
        sources = _sources(splits[job.split], job.rows)
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


def _sources(split: Split, rows: range) -> list[Source]:
    folder, sizes, found = split.folder, split.sizes, []
    for row in rows:
        label, name = int(folder.labels[row]), os.fsdecode(split.names[row].item())
        path, offset = folder.describe(row), None
        if isinstance(folder, TarredImages):
            path, offset = folder.place, int(folder.offsets[row])
        found.append(Source(row, label, f"{folder.classes[label]}/{name}", path, int(sizes[row]), offset))
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
