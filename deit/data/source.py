"""The interface of all sources of images.

The labels are in memory, the images are read one by one, from any thread. No image library is needed here, so that the control
side can count a data set quickly.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np

from deit.config import class_names
from deit.data.crop import Choose, part
from deit.errors import UserError
from deit.text import listed


class Dataset(abc.ABC):
    """Labelled images of one split.

    ``classes`` are the class names in label order, ``labels`` is int64 [N], and ``place`` says in messages where the images
    come from. ``in_memory``: an image takes a fraction of the time of decoding a file.
    """

    in_memory = True
    classes: list[str]
    labels: np.ndarray
    place: str

    def __len__(self) -> int:
        return len(self.labels)

    @abc.abstractmethod
    def image(self, index: int) -> np.ndarray:
        """The image as uint8 [H, W, 3] in RGB.

        Raises BadImage if it is not usable, UserError with exit code 1 if it cannot be read at all.
        """

    def cut(self, index: int, choose: Choose) -> np.ndarray:
        """The part of the image that ``choose`` takes, uint8 [height, width, 3]. Raises as ``image`` does.

        ``choose`` may be called more than once, and answers the same for the same size.
        """
        image = self.image(index)
        return part(image, choose(*image.shape[:2]))

    def content(self, index: int) -> bytes:
        """The stored bytes of the image: those of its file, or its pixels. Equal images have equal bytes.

        Raises as ``image`` does.
        """
        return self.image(index).tobytes()

    @abc.abstractmethod
    def describe(self, index: int) -> str:
        """The image's name for messages: its file, or its position in the source."""

    def name(self, index: int) -> str:
        """Its name within the data set: ``cat/7.jpg``, or as in ``describe``."""
        return self.describe(index).removeprefix(f"{self.place}/")


class EncodedDataset(Dataset):
    """Images stored as the bytes of their files, which ``content`` reads.

    An image of more than ``max_pixels`` is bad; transparent pixels show ``background``.
    """

    in_memory = False
    max_pixels: int
    background: str

    def image(self, index: int) -> np.ndarray:
        from deit.data.decode import decode  # late: the image libraries, which counting does not need

        return decode(self.content(index), self.describe(index), self.max_pixels, self.background)

    def cut(self, index: int, choose: Choose) -> np.ndarray:
        from deit.data.decode import decode

        return decode(self.content(index), self.describe(index), self.max_pixels, self.background, choose)

    @abc.abstractmethod
    def content(self, index: int) -> bytes: ...


class ArrayDataset(Dataset):
    """Images in memory, as uint8 [N, H, W, 3] in RGB."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, classes: list[str], place: str) -> None:
        self.images = images
        self.labels = labels.astype(np.int64)
        self.classes = classes
        self.place = place

    def image(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(self.images[index])

    def describe(self, index: int) -> str:
        return f"{self.place}[{index}]"


class Subset(Dataset):
    """Some images of a data set, described by their position in the whole."""

    def __init__(self, whole: Dataset, indices: np.ndarray) -> None:
        self.whole = whole
        self.indices = indices
        self.in_memory = whole.in_memory
        self.labels = whole.labels[indices]
        self.classes = whole.classes
        self.place = whole.place

    def image(self, index: int) -> np.ndarray:
        return self.whole.image(int(self.indices[index]))

    def cut(self, index: int, choose: Choose) -> np.ndarray:
        return self.whole.cut(int(self.indices[index]), choose)

    def content(self, index: int) -> bytes:
        return self.whole.content(int(self.indices[index]))

    def describe(self, index: int) -> str:
        return self.whole.describe(int(self.indices[index]))

    def name(self, index: int) -> str:
        return self.whole.name(int(self.indices[index]))


def whole_of(dataset: Dataset) -> Dataset:
    """The whole data set of a subset, or the data set itself."""
    while isinstance(dataset, Subset):
        dataset = dataset.whole
    return dataset


def mapped(dataset: Dataset, names: Sequence[str], source: str) -> Dataset:
    """The data set relabelled by a list of class names: a class gets the position of its name in ``names``.

    Raises UserError, naming ``source``, if the list lacks a class of the data set.
    """
    where = {class_names.normal(name): label for label, name in enumerate(names)}
    lacking = [name for name in dataset.classes if class_names.normal(name) not in where]
    if lacking:
        raise UserError(f"{source}: lacks {listed(lacking)}, but {dataset.place} has images of it.")
    relabelled = Subset(dataset, np.arange(len(dataset)))
    relabelled.classes = list(names)
    relabelled.labels = np.array([where[class_names.normal(name)] for name in dataset.classes], np.int64)[dataset.labels]
    return relabelled


def aligned(dataset: Dataset, known: Sequence[str] | None, source: str) -> Dataset:
    """The data set with the labels of a model with the classes ``known``; unchanged if these are unknown.

    The same names in another order are translated. Raises UserError, naming ``source`` (the origin of the model), with the
    names that differ.
    """
    if known is None or class_names.same(known, dataset.classes):
        return dataset
    if class_names.positions(known, dataset.classes) is None:
        told = class_names.difference(known, dataset.classes, ("the model", "the data"))
        raise UserError(f"{source}: was trained on other classes than those of {dataset.place}: {told}.")
    return mapped(dataset, known, source)


def in_order(dataset: Dataset, names: Sequence[str] | None) -> Dataset:
    """The data set with the labels of ``names`` if these are its classes in another order; else unchanged."""
    if names is None or class_names.positions(names, dataset.classes) is None:
        return dataset
    return aligned(dataset, names, dataset.place)


def limited(dataset: Dataset, limit: int | None) -> Dataset:
    """At most ``limit`` images, spread evenly over the data set, so that each class keeps its share.

    They are counted class by class: the original order may repeat the classes periodically (the digits do).
    """
    if limit is None or limit >= len(dataset):
        return dataset
    by_class = np.argsort(dataset.labels, kind="stable")
    return Subset(dataset, np.sort(by_class[evenly(len(dataset), limit)]))


def evenly(total: int, count: int) -> np.ndarray:
    """``count`` of the numbers 0 .. total-1 at equal distances, as int64; all of them if there are no more."""
    count = min(count, total)
    return np.arange(count, dtype=np.int64) * total // max(count, 1)
