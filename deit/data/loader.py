"""Batches for the device, read and augmented by threads ahead of their use.

Every image is a function of (seed, epoch, index, repetition), so that the bytes do not depend on the number
of threads, nor on where in an epoch a run begins. Threads suffice, since decoding, OpenCV and Pillow's
larger operations release the interpreter's lock, and they share one copy of the data set.

A step has its number of images whatever the data are like. With ``data.on_bad_image=skip`` the place of a bad image is
taken by the next good one of the same micro batch, which is then seen twice, augmented differently; with ``replace`` by
one drawn from the whole training set. Both are functions of the seed and of what is bad, like everything else here. An
evaluation has empty places instead.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from deit.config.schema import RunConfig
from deit.data.erasing import draw_boxes, fill_pixels
from deit.data.sampler import TrainOrder, eval_order
from deit.data.source import Dataset
from deit.data.transform import EvalTransform, TrainTransform
from deit.errors import BadImage, UserError
from deit.randomness import generator

AHEAD = 3  # batches in the making while one is in use
CHUNK = 4  # images a thread takes at a time
DRAWS = 100  # images drawn for the place of a bad one; so many bad ones in a row mean that the data set is broken


@dataclass(frozen=True)
class TrainBatch:
    """A micro batch of B images of side S = model.img_size.

    ``images`` uint8 [B, S, S, 3], not normalised; ``labels`` int32 [B]; ``indices`` int64 [B], the images'
    numbers in the data set. For random erasing, which follows normalisation: ``boxes`` int32
    [B, augment.recount, 4] (top, left, height, width; zeros are no box) and ``noise``, what fills them:
    float16 [B, S, S, 3], zero outside of the boxes, for augment.remode=pixel; float16 [B, recount, 3] for
    rand; None for const, which fills with 0. Both are None where augment.reprob is 0.

    ``bad`` are the images that had a place here and could not be used, by name; labels and indices are those of the images
    that took their places.
    """

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    boxes: np.ndarray | None
    noise: np.ndarray | None
    bad: list[BadImage] = field(default_factory=list)


@dataclass(frozen=True)
class EvalBatch:
    """B images of an evaluation.

    ``images`` uint8 [B, S, S, 3], ``labels`` int32 [B], ``valid`` bool [B], ``indices`` int64 [B]. Where
    ``valid`` is False there is no image: the pixels and the label are 0, the index is -1. So it is for ``bad``, the images
    that could not be used, by name.
    """

    images: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    indices: np.ndarray
    bad: list[BadImage] = field(default_factory=list)


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

        Raises UserError (exit code 1) where an image cannot be read: BadImage with data.on_bad_image=error, and otherwise
        where no other is to be found for its place.
        """
        batches = _made(self._jobs(epoch, start), self.config.data.workers)
        try:
            while True:
                began = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - began
                if batch is None:
                    return
                batch.bad.sort(key=lambda bad: bad.file)
                yield batch
        finally:
            batches.close()

    def taken(self, epoch: int, number: int) -> np.ndarray:
        """The ``indices`` of micro batch ``number`` of an epoch, int64 [B], without its images.

        With data.on_bad_image=skip or replace its images are read once more, to know which of them were replaced.
        """
        indices, repetitions = (each[number] for each in self.order.epoch(epoch))
        if self.config.data.on_bad_image == "error":
            return indices
        places = [(epoch, int(index), int(repetition)) for index, repetition in zip(indices, repetitions, strict=True)]
        return np.array([self._usable(self._candidates(indices, row, place), [])[0] for row, place in enumerate(places)])

    def _jobs(self, epoch: int, start: int) -> Iterator[Job[TrainBatch]]:
        all_indices, all_repetitions = self.order.epoch(epoch)
        for indices, repetitions in zip(all_indices[start:], all_repetitions[start:], strict=True):
            batch = self._empty(indices)
            yield batch, self._writer(batch, epoch, indices, repetitions), len(indices)

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
        return TrainBatch(images, self.dataset.labels[indices].astype(np.int32), indices.copy(), boxes, noise)

    def _writer(self, batch: TrainBatch, epoch: int, indices: np.ndarray, repetitions: np.ndarray) -> Callable[[int], None]:
        augment, size = self.config.augment, self.config.model.img_size

        def write(row: int) -> None:
            place = (epoch, int(indices[row]), int(repetitions[row]))
            rng = generator(self.config.seed, "augment", *place)
            index, image = self._usable(self._candidates(indices, row, place), batch.bad)
            batch.indices[row], batch.labels[row] = index, self.dataset.labels[index]
            batch.images[row] = self.transform(image, rng)
            if batch.boxes is not None:
                batch.boxes[row] = draw_boxes(rng, size, augment.reprob, augment.recount)
                if batch.noise is not None and augment.remode == "pixel":
                    fill_pixels(rng, batch.boxes[row], batch.noise[row])
                elif batch.noise is not None:
                    batch.noise[row] = rng.standard_normal((augment.recount, 3))

        return write

    def _candidates(self, indices: np.ndarray, row: int, place: tuple[int, int, int]) -> Iterator[int]:
        """The image of a row, then those that may take its place, in the order in which they are tried."""
        yield int(indices[row])
        if self.config.data.on_bad_image == "skip":
            yield from (int(index) for index in np.roll(indices, -row)[1:])
        else:
            rng = generator(self.config.seed, "replace", *place)
            for _ in range(DRAWS):
                yield int(rng.integers(len(self.dataset)))

    def _usable(self, candidates: Iterator[int], found_bad: list[BadImage]) -> tuple[int, np.ndarray]:
        """The first that can be read, and its number; those before it are noted."""
        tried = 0
        for index in candidates:
            tried += 1
            try:
                return index, self.dataset.image(index, self.config.augment.backend)
            except BadImage as bad:
                if self.config.data.on_bad_image == "error":
                    raise
                found_bad.append(bad)
        raise UserError(
            f"{self.dataset.place}: {tried} images in a row cannot be used, the last one {found_bad[-1].file} "
            f"({found_bad[-1].reason}); task=check_data lists them all.",
            exit_code=1,
        )


class EvalLoader:
    """The evaluation batches of one rank: over all ranks each image exactly once.

    All ranks have the same number of batches, each of data.eval_batch_size rows.
    """

    def __init__(self, config: RunConfig, dataset: Dataset, rank: int, world: int) -> None:
        self.dataset = dataset
        self.workers = config.data.workers
        self.on_bad_image = config.data.on_bad_image
        self.size = config.model.img_size
        self.order = eval_order(len(dataset), config.data.eval_batch_size, rank, world)
        self.transform = EvalTransform(config)

    def __len__(self) -> int:
        """The number of batches."""
        return len(self.order)

    def __iter__(self) -> Generator[EvalBatch, None, None]:
        """Raises UserError (exit code 1) where an image cannot be read: BadImage with data.on_bad_image=error alone."""
        for batch in _made(map(self._job, self.order), self.workers):
            batch.bad.sort(key=lambda bad: bad.file)
            yield batch

    def _job(self, indices: np.ndarray) -> Job[EvalBatch]:
        valid = indices >= 0
        labels = np.where(valid, self.dataset.labels[indices], 0).astype(np.int32)
        images = np.zeros((len(indices), self.size, self.size, 3), np.uint8)
        batch = EvalBatch(images, labels, valid, indices.copy())

        def write(row: int) -> None:
            if not valid[row]:
                return
            try:
                images[row] = self.transform(self.dataset.image(int(indices[row])))
            except BadImage as bad:
                if self.on_bad_image == "error":
                    raise
                valid[row], labels[row], batch.indices[row] = False, 0, -1
                batch.bad.append(bad)

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
