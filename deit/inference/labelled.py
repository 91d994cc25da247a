"""The input of a prediction as a data set, and labelled images for evaluating a network: a tree of class folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deit.config.schema import DataConfig
from deit.data.source import Dataset
from deit.errors import UserError
from deit.inference.images import Images, find_images


class FoundImages(Dataset):
    """Images of a prediction as a data set, so that they are read like any other. Those without labels have the label 0."""

    in_memory = False

    def __init__(self, images: Images, data: DataConfig) -> None:
        self.images, self.classes, self.place = images, [], "task.input"
        self.max_pixels, self.background = data.max_pixels, data.background
        self.labels = np.zeros(len(images), np.int64) if images.labels is None else images.labels

    def image(self, index: int) -> np.ndarray:
        from deit.data.decode import decode, read_file  # late: the image libraries, which counting does not need

        packed, file = self.images.packed, self.images.files[index]
        content = read_file(file, self.max_pixels) if packed is None else packed.read(index, self.max_pixels)
        return decode(content, file, self.max_pixels, self.background)

    def describe(self, index: int) -> str:
        return self.images.files[index]


class ClassFolders(FoundImages):
    """A tree of class folders. ``classes`` are the names of the model's classes, of which the tree may contain only some."""

    def __init__(self, images: Images, classes: Sequence[str], place: str, data: DataConfig) -> None:
        assert images.labels is not None
        super().__init__(images, data)
        self.classes, self.place = list(classes), place


def open_tree(text: str, key: str, known: Sequence[str] | None, num_classes: int, data: DataConfig) -> ClassFolders:
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
    return ClassFolders(images, known or images.folders or (), text, data)
