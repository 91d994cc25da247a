"""The input of a prediction as a data set, and labelled images for evaluating a network: a tree of class folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deit.config.schema import DataConfig
from deit.data.source import EncodedDataset
from deit.errors import UserError
from deit.inference.images import Images, find_images


class FoundImages(EncodedDataset):
    """Images of a prediction as a data set, so that they are read like any other. Those without labels have the label 0.

    ``classes`` are the names of the model's classes, if labels are known; the images may be of only some.
    """

    def __init__(self, images: Images, data: DataConfig, classes: Sequence[str] = (), place: str = "task.input") -> None:
        self.images, self.classes, self.place = images, list(classes), place
        self.max_pixels, self.background = data.max_pixels, data.background
        self.labels = np.zeros(len(images), np.int64) if images.labels is None else images.labels

    def content(self, index: int) -> bytes:
        from deit.data.decode import read_file  # late: the image libraries, which counting does not need

        packed = self.images.packed
        return read_file(self.describe(index), self.max_pixels) if packed is None else packed.read(index, self.max_pixels)

    def describe(self, index: int) -> str:
        return self.images.files[index]


def open_tree(text: str, key: str, known: Sequence[str] | None, num_classes: int, data: DataConfig) -> FoundImages:
    """The tree of ``text``, the value of ``key``. Its labels are those of the classes ``known``; if these are None, its folders
    numbered by name.

    Raises UserError if there is no such tree, or if its images have no labels.
    """
    if not Path(text).is_dir():
        raise UserError(f"{key}={text}: no such folder, and labels come from class folders.")
    images = find_images(text, key, known, num_classes)
    if images.labels is None:
        why = images.remark or "no labels: they come from class folders, and its images are in none"
        raise UserError(f"{key}={text}: {why}.")
    return FoundImages(images, data, known or images.folders or (), text)
