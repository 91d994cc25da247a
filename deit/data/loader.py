"""Batches for the device, in the order of the sampler, read and augmented ahead of their use.

Every image is a function of (seed, epoch, index, repetition), so that the bytes depend neither on the number of workers nor on
where in an epoch a run starts. ``deit.data.rows`` makes an image, ``deit.data.prefetch`` makes many in parallel.

A step always has its number of images. With ``data.on_bad_image=skip`` a bad image is replaced by the next good one of the
same micro batch, which is then used twice, augmented differently; with ``replace`` by one drawn from the whole training set.
Both are functions of the seed and of which images are bad. An evaluation has empty places instead.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import numpy as np

from deit.config.schema import RunConfig
from deit.data.balance import Balance
from deit.data.crop import whole
from deit.data.prefetch import Made, Prefetcher
from deit.data.prefetcher_choice import open_prefetcher
from deit.data.rows import Bad, EvalRows, Places, TrainRows
from deit.data.sampler import TrainOrder, eval_order
from deit.data.source import Dataset
from deit.data.workers import workers_of
from deit.errors import BadImage, UserError


@dataclass(frozen=True)
class TrainBatch:
    """A micro batch of B images of H x W pixels (model.img_size), with C channels (model.in_chans).

    ``images`` uint8 [B, H, W, C], not normalised; ``labels`` int32 [B]; ``indices`` int64 [B], the images' numbers in the data
    set. For random erasing, which follows normalisation: ``boxes`` int32 [B, augment.recount, 4] (top, left, height, width;
    zeros are no box) and ``noise``, which fills them: for augment.remode=pixel int32 [B, C, H], the rows of the noise bank
    for each row of an image (``deit.data.erasing``); float16 [B, recount, C] for rand; None for const, which fills with 0.
    Both are None if augment.reprob is 0.

    ``bad`` are the unusable images of this batch, by name; labels and indices are those of their replacements.

    The memory of the arrays is reused when all of them are gone: keep them, or views of them, as long as needed.
    """

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    boxes: np.ndarray | None = None
    noise: np.ndarray | None = None
    bad: list[BadImage] = field(default_factory=list)


@dataclass(frozen=True)
class EvalBatch:
    """B images of an evaluation.

    ``images`` uint8 [B, H, W, C], ``labels`` int32 [B], ``valid`` bool [B], ``indices`` int64 [B]. Where ``valid`` is False
    there is no image: the pixels and the label are 0, the index is -1. So it is for ``failed``, the unusable images by number.
    """

    images: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    indices: np.ndarray
    failed: list[Bad] = field(default_factory=list)

    @property
    def bad(self) -> list[BadImage]:
        """The bad images by name."""
        return _by_name(self.failed)


class TrainLoader:
    """The training batches of one rank.

    ``steps_per_epoch`` counts micro batches, a multiple of optim.accumulation_steps; ``waited`` is how many seconds the
    training has waited for batches so far. Processes that read images live as long as the loader.
    """

    def __init__(self, config: RunConfig, dataset: Dataset, rank: int, world: int) -> None:
        """Raises UserError if the policy is invalid."""
        self.config, balance = config, config.data.balance
        self.order = TrainOrder(
            len(dataset),
            seed=config.seed,
            batch_size=config.data.batch_size,
            rank=rank,
            world=world,
            accumulation_steps=config.optim.accumulation_steps,
            repeats=config.augment.repeats,
            fill=config.data.last_batch == "fill",
            balance=None if balance == "none" else Balance(dataset.labels, balance, config.seed),
        )
        self.steps_per_epoch = self.order.steps
        self.rows = TrainRows(config, dataset)
        self.workers = workers_of(config.data, config.hardware.cards)
        self.waited = 0.0
        self._prefetcher: Prefetcher | None = None

    def epoch(self, epoch: int, start: int = 0) -> Generator[TrainBatch, None, None]:
        """The micro batches of an epoch from number ``start`` on; earlier ones are not read.

        Call it in a thread that lives as long as the loader. Its batches raise UserError (exit code 1) if an image cannot be
        read: BadImage with data.on_bad_image=error, otherwise if no replacement can be found.
        """
        if self._prefetcher is None:
            self._prefetcher = open_prefetcher(self.rows, self.config.data.batch_size, self.workers)
        return self._timed(self._prefetcher.batches(self._places(epoch, start)))

    def _timed(self, batches: Generator[Made, None, None]) -> Generator[TrainBatch, None, None]:
        try:
            while True:
                began = time.perf_counter()
                made = next(batches, None)
                self.waited += time.perf_counter() - began
                if made is None:
                    return
                arrays, bad = made
                yield TrainBatch(**arrays, bad=_by_name(bad))
        finally:
            batches.close()

    def _places(self, epoch: int, start: int) -> Iterator[Places]:
        all_indices, all_repetitions = self.order.epoch(epoch)
        for indices, repetitions in zip(all_indices[start:], all_repetitions[start:], strict=True):
            yield Places(epoch, indices, repetitions)

    def taken(self, epoch: int, number: int) -> np.ndarray:
        """The ``indices`` of micro batch ``number`` of an epoch, int64 [B], without its images.

        With data.on_bad_image=skip or replace its images are read again to find the replaced ones.
        """
        places = Places(epoch, *(each[number] for each in self.order.epoch(epoch)))
        if self.config.data.on_bad_image == "error":
            return places.indices
        return np.array([self.rows.usable(places, row, [], whole)[0] for row in range(len(places.indices))])


class EvalLoader:
    """The evaluation batches of one rank: over all ranks each image exactly once.

    All ranks have the same number of batches, each of data.eval_batch_size rows. Processes that read images live as long as
    the loader.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        rank: int,
        world: int,
        leave_out: type[UserError] | None = None,
        *,
        five_crops: bool = False,
    ) -> None:
        """``leave_out``: the errors that do not stop it; by default bad images, if data.on_bad_image allows that.

        With ``five_crops`` the images of a batch are uint8 [B, 5, H, W, C].
        """
        if leave_out is None and config.data.on_bad_image != "error":
            leave_out = BadImage
        self.batch = config.data.eval_batch_size
        self.order = eval_order(len(dataset), self.batch, rank, world)
        self.rows = EvalRows(config, dataset, leave_out, five_crops)
        self.workers = workers_of(config.data, config.hardware.cards)
        self._prefetcher: Prefetcher | None = None

    def __len__(self) -> int:
        """The number of batches."""
        return len(self.order)

    def __iter__(self) -> Generator[EvalBatch, None, None]:
        """Raises UserError (exit code 1) if an image cannot be read: BadImage only with data.on_bad_image=error."""
        if self._prefetcher is None:
            self._prefetcher = open_prefetcher(self.rows, self.batch, self.workers)
        nothing = np.zeros(self.batch, np.int64)
        for arrays, bad in self._prefetcher.batches(Places(0, indices, nothing) for indices in self.order):
            yield EvalBatch(**arrays, failed=sorted(bad, key=lambda each: each[0]))


def _by_name(bad: list[Bad]) -> list[BadImage]:
    return sorted((error for _, error in bad if isinstance(error, BadImage)), key=lambda error: error.file)
