"""Batches for the device, read and augmented by threads ahead of their use.

Every image is a function of (seed, epoch, index, repetition), so that the bytes do not depend on the number
of threads, nor on where in an epoch a run begins. Threads suffice, since decoding, OpenCV and Pillow's
larger operations release the interpreter's lock, and they share one copy of the data set.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from deit.config.schema import RunConfig
from deit.data.erasing import draw_boxes, fill_pixels
from deit.data.sampler import TrainOrder, eval_order
from deit.data.source import Dataset
from deit.data.transform import EvalTransform, TrainTransform
from deit.randomness import generator

AHEAD = 3  # batches in the making while one is in use
CHUNK = 4  # images a thread takes at a time


@dataclass(frozen=True)
class TrainBatch:
    """A micro batch of B images of side S = model.img_size.

    ``images`` uint8 [B, S, S, 3], not normalised; ``labels`` int32 [B]; ``indices`` int64 [B], the images'
    numbers in the data set. For random erasing, which follows normalisation: ``boxes`` int32
    [B, augment.recount, 4] (top, left, height, width; zeros are no box) and ``noise``, what fills them:
    float16 [B, S, S, 3], zero outside of the boxes, for augment.remode=pixel; float16 [B, recount, 3] for
    rand; None for const, which fills with 0. Both are None where augment.reprob is 0.
    """

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    boxes: np.ndarray | None
    noise: np.ndarray | None


@dataclass(frozen=True)
class EvalBatch:
    """B images of an evaluation.

    ``images`` uint8 [B, S, S, 3], ``labels`` int32 [B], ``valid`` bool [B], ``indices`` int64 [B]. Where
    ``valid`` is False there is no image: the pixels and the label are 0, the index is -1.
    """

    images: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    indices: np.ndarray


Batch = TypeVar("Batch")
Job = tuple[Batch, Callable[[int], None], int]  # a batch, what writes a row of it, the number of its rows


class TrainLoader:
    """The training batches of one rank.

    ``steps_per_epoch`` counts micro batches, a multiple of optim.accumulation_steps; ``waited`` is how many
    seconds the training has waited for batches so far.
    """

    def __init__(self, config: RunConfig, dataset: Dataset, rank: int, world: int) -> None:
        """Raises UserError where the data set does not fill one optimizer step, or the policy is none."""
        self.config = config
        self.dataset = dataset
        self.order = TrainOrder(
            len(dataset),
            seed=config.seed,
            batch_size=config.data.batch_size,
            rank=rank,
            world=world,
            accumulation_steps=config.optim.accumulation_steps,
            repeats=config.augment.repeats,
        )
        self.steps_per_epoch = self.order.steps
        self.transform = TrainTransform(config)
        self.waited = 0.0

    def epoch(self, epoch: int, start: int = 0) -> Generator[TrainBatch, None, None]:
        """The micro batches of an epoch from number ``start`` on; those before it cost nothing.

        Raises UserError (exit code 1) where an image cannot be read.
        """
        batches = _made(self._jobs(epoch, start), self.config.data.workers)
        try:
            while True:
                began = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - began
                if batch is None:
                    return
                yield batch
        finally:
            batches.close()

    def _jobs(self, epoch: int, start: int) -> Iterator[Job[TrainBatch]]:
        all_indices, all_repetitions = self.order.epoch(epoch)
        for indices, repetitions in zip(all_indices[start:], all_repetitions[start:], strict=True):
            batch = self._empty(indices)
            yield batch, self._writer(batch, epoch, repetitions), len(indices)

    def _empty(self, indices: np.ndarray) -> TrainBatch:
        count, size, augment = len(indices), self.config.model.img_size, self.config.augment
        boxes = noise = None
        if augment.reprob > 0:
            boxes = np.zeros((count, augment.recount, 4), np.int32)
            if augment.remode == "pixel":
                noise = np.zeros((count, size, size, 3), np.float16)
            elif augment.remode == "rand":
                noise = np.zeros((count, augment.recount, 3), np.float16)
        images = np.empty((count, size, size, 3), np.uint8)
        return TrainBatch(images, self.dataset.labels[indices].astype(np.int32), indices, boxes, noise)

    def _writer(self, batch: TrainBatch, epoch: int, repetitions: np.ndarray) -> Callable[[int], None]:
        augment, size = self.config.augment, self.config.model.img_size

        def write(row: int) -> None:
            index = int(batch.indices[row])
            rng = generator(self.config.seed, "augment", epoch, index, int(repetitions[row]))
            batch.images[row] = self.transform(self.dataset.image(index, augment.backend), rng)
            if batch.boxes is not None:
                batch.boxes[row] = draw_boxes(rng, size, augment.reprob, augment.recount)
                if batch.noise is not None and augment.remode == "pixel":
                    fill_pixels(rng, batch.boxes[row], batch.noise[row])
                elif batch.noise is not None:
                    batch.noise[row] = rng.standard_normal((augment.recount, 3))

        return write


class EvalLoader:
    """The evaluation batches of one rank: over all ranks each image exactly once.

    All ranks have the same number of batches, each of data.eval_batch_size rows.
    """

    def __init__(self, config: RunConfig, dataset: Dataset, rank: int, world: int) -> None:
        self.dataset = dataset
        self.workers = config.data.workers
        self.size = config.model.img_size
        self.order = eval_order(len(dataset), config.data.eval_batch_size, rank, world)
        self.transform = EvalTransform(config)

    def __len__(self) -> int:
        """The number of batches."""
        return len(self.order)

    def __iter__(self) -> Generator[EvalBatch, None, None]:
        """Raises UserError (exit code 1) where an image cannot be read."""
        return _made(map(self._job, self.order), self.workers)

    def _job(self, indices: np.ndarray) -> Job[EvalBatch]:
        valid = indices >= 0
        labels = np.where(valid, self.dataset.labels[indices], 0).astype(np.int32)
        images = np.zeros((len(indices), self.size, self.size, 3), np.uint8)
        batch = EvalBatch(images, labels, valid, indices)

        def write(row: int) -> None:
            if valid[row]:
                images[row] = self.transform(self.dataset.image(int(indices[row])))

        return batch, write, len(indices)


def _made(jobs: Iterator[Job[Batch]], workers: int) -> Generator[Batch, None, None]:
    """Yield the batch of each job in order, once all of its rows are written.

    With ``workers`` threads up to AHEAD batches are made in advance, with 0 each is made when it is asked for.
    What a row raises is raised here. Closing the generator ends the threads before it returns.
    """
    if workers == 0:
        for batch, write, count in jobs:
            _write_rows(write, range(count))
            yield batch
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
    making: deque[tuple[Batch, list[Future[None]]]] = deque()

    def oldest() -> Batch:
        batch, chunks = making.popleft()
        for chunk in chunks:
            chunk.result()
        return batch

    try:
        for batch, write, count in jobs:
            rows = range(count)
            making.append((batch, [pool.submit(_write_rows, write, rows[i : i + CHUNK]) for i in rows[::CHUNK]]))
            if len(making) > AHEAD:
                yield oldest()
        while making:
            yield oldest()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _write_rows(write: Callable[[int], None], rows: range) -> None:
    for row in rows:
        write(row)
