"""Rows of a batch: read an image, transform it, write it and everything else of the row into the batch's arrays.

A row is a function of its place: of (seed, epoch, image, repetition) in training, of the image in an evaluation. So the bytes
do not depend on the process that writes them. These objects are sent to other processes, so they must be picklable.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from deit.config.schema import RunConfig
from deit.data.crop import Box, Choose
from deit.data.erasing import draw_boxes, noise_rows
from deit.data.source import Dataset
from deit.data.transform import EvalTransform, FiveCrops, TrainTransform
from deit.errors import BadImage, UserError
from deit.randomness import generator, moved_generator

DRAWS = 100  # images drawn to replace a bad one; so many bad ones in a row mean that the data set is broken

Arrays = dict[str, np.ndarray]
Layout = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]  # shape and type of each array of a batch
Bad = tuple[int, UserError]  # the number of an image in the data set, and its problem


class Places(NamedTuple):
    """The images of a batch: ``indices`` int64 [B], -1 for none, and their ``repetitions``."""

    epoch: int
    indices: np.ndarray
    repetitions: np.ndarray


class Rows(abc.ABC):
    """Writes the rows of batches."""

    dataset: Dataset

    @abc.abstractmethod
    def layout(self, count: int) -> Layout:
        """The arrays of a batch of ``count`` rows."""

    @abc.abstractmethod
    def write(self, arrays: Arrays, places: Places, row: int) -> list[Bad]:
        """Write all of a row, whatever it contained before; returns the unusable images.

        Raises UserError (exit code 1) if the run must end because of one.
        """


class TrainRows(Rows):
    """Rows of a training; the arrays are those of ``deit.data.loader.TrainBatch``."""

    def __init__(self, config: RunConfig, dataset: Dataset) -> None:
        """Raises UserError if augment.auto_augment is invalid."""
        self.seed, self.augment = config.seed, config.augment
        self.size, self.channels, self.on_bad_image = config.model.image_size, config.model.in_chans, config.data.on_bad_image
        self.dataset = dataset
        self.transform = TrainTransform(config)

    def layout(self, count: int) -> Layout:
        (height, width), channels, boxes = self.size, self.channels, self.augment.recount
        arrays: Layout = {
            "images": ((count, height, width, channels), np.dtype(np.uint8)),
            "labels": ((count,), np.dtype(np.int32)),
            "indices": ((count,), np.dtype(np.int64)),
        }
        if self.augment.reprob > 0:
            arrays["boxes"] = ((count, boxes, 4), np.dtype(np.int32))
            if self.augment.remode == "pixel":
                arrays["noise"] = ((count, channels, height), np.dtype(np.int32))
            elif self.augment.remode == "rand":
                arrays["noise"] = ((count, boxes, channels), np.dtype(np.float16))
        return arrays

    def write(self, arrays: Arrays, places: Places, row: int) -> list[Bad]:
        place = (places.epoch, int(places.indices[row]), int(places.repetitions[row]))
        bad: list[Bad] = []
        rng = moved_generator(self.seed, "augment", *place)

        def crop(height: int, width: int) -> Box:
            nonlocal rng
            rng = moved_generator(self.seed, "augment", *place)  # each image that is tried begins with the same draws
            return self.transform.box(rng, height, width)

        index, cut = self.usable(places, row, bad, crop)
        arrays["indices"][row], arrays["labels"][row] = index, self.dataset.labels[index]
        arrays["images"][row] = self.transform.finish(cut, rng)
        if self.augment.reprob > 0:
            boxes = draw_boxes(rng, self.size, self.augment.reprob, self.augment.recount)
            arrays["boxes"][row] = boxes
            if self.augment.remode == "pixel":
                arrays["noise"][row] = noise_rows(rng, self.size[0], self.channels) if boxes.any() else 0
            elif self.augment.remode == "rand":
                arrays["noise"][row] = rng.standard_normal((self.augment.recount, self.channels))
        return bad

    def usable(self, places: Places, row: int, bad: list[Bad], choose: Choose) -> tuple[int, np.ndarray]:
        """The number of the image for a row, and the part that ``choose`` selects: its own image, or the first usable one after
        it; bad ones are added to ``bad``.
        """
        for index in self._candidates(places, row):
            try:
                return index, self.dataset.cut(index, choose)
            except BadImage as error:
                if self.on_bad_image == "error":
                    raise
                bad.append((index, error))
        last = bad[-1][1]
        assert isinstance(last, BadImage)
        raise UserError(
            f"{self.dataset.place}: {len(bad)} images in a row cannot be used, the last one {last.file} "
            f"({last.reason}); task=check_data lists them all.",
            exit_code=1,
        )

    def _candidates(self, places: Places, row: int) -> Iterator[int]:
        """The image of a row, then its possible replacements in order."""
        own = int(places.indices[row])
        yield own
        if self.on_bad_image == "skip":
            yield from (int(index) for index in np.roll(places.indices, -row)[1:])
        else:
            rng = generator(self.seed, "replace", places.epoch, own, int(places.repetitions[row]))
            for _ in range(DRAWS):
                yield int(rng.integers(len(self.dataset)))


class EvalRows(Rows):
    """Rows of an evaluation or a prediction; the arrays are those of ``deit.data.loader.EvalBatch``."""

    def __init__(
        self, config: RunConfig, dataset: Dataset, leave_out: type[UserError] | None, five_crops: bool = False
    ) -> None:
        """``leave_out``: errors that leave a row empty; anything else ends the run. ``five_crops``: five for each image."""
        self.dataset = dataset
        self.leave_out = leave_out
        self.transform = FiveCrops(config) if five_crops else EvalTransform(config)

    def layout(self, count: int) -> Layout:
        return {
            "images": ((count, *self.transform.shape), np.dtype(np.uint8)),
            "labels": ((count,), np.dtype(np.int32)),
            "indices": ((count,), np.dtype(np.int64)),
            "valid": ((count,), np.dtype(bool)),
        }

    def write(self, arrays: Arrays, places: Places, row: int) -> list[Bad]:
        index = int(places.indices[row])
        bad: list[Bad] = []
        if index >= 0:
            try:
                arrays["images"][row] = self.transform(self.dataset.image(index))
                arrays["labels"][row], arrays["indices"][row] = self.dataset.labels[index], index
                arrays["valid"][row] = True
                return bad
            except UserError as error:
                if self.leave_out is None or not isinstance(error, self.leave_out):
                    raise
                bad.append((index, error))
        arrays["images"][row], arrays["labels"][row], arrays["indices"][row], arrays["valid"][row] = 0, 0, -1, False
        return bad
