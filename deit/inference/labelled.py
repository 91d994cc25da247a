"""Labelled images to judge a network by: the validation images of a configuration's data, or a tree of class folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deit.data.source import Dataset
from deit.errors import UserError
from deit.inference.images import Images, find_images


class ClassFolders(Dataset):
    """A tree of class folders as a data set, so that it is read and counted like any other.

    ``classes`` are the names of the model's classes, of which the tree may hold some only.
    """

    def __init__(self, images: Images, classes: Sequence[str], place: str, max_pixels: int) -> None:
        assert images.labels is not None
        self.images, self.labels, self.classes = images, images.labels, list(classes)
        self.place, self.max_pixels = place, max_pixels

    def image(self, index: int, decoder: str = "pil") -> np.ndarray:
        from deit.inference.reading import image_of  # the image libraries, which counting does without

        return image_of(self.images, index, self.max_pixels)

    def describe(self, index: int) -> str:
        return self.images.files[index]


def open_tree(text: str, key: str, known: Sequence[str] | None, num_classes: int, max_pixels: int) -> ClassFolders:
    """The tree that ``text``, the value of ``key``, names. Its labels are those of the classes called ``known``; where these
    are None, of its folders in the order of their names.

    Raises UserError where there is no such tree, or where its images have no labels.
    """
    if not Path(text).is_dir():
        raise UserError(f"{key}={text}: there is no such folder, and labels come from class folders.")
    images = find_images(text, key, known, num_classes)
    if images.labels is None:
        why = images.remark or "no labels: they come from class folders, and its images are in none"
        raise UserError(f"{key}={text}: {why}.")
    return ClassFolders(images, known or images.folders or (), text, max_pixels)
