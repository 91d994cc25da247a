"""Random images whose class can be learned: for trying and timing without data.

An image is the smooth colour pattern of its class under heavy noise. It is a function of its split and
number, made when it is asked for, so that the data set may be of any size.
"""

from __future__ import annotations

import numpy as np

from deit.config.schema import DataConfig
from deit.data.source import Dataset
from deit.errors import UserError
from deit.randomness import generator

SIDE = 64
GRID = 4  # colours of a class along a side; what lies between them is interpolated
NOISE = 40.0  # standard deviation, in levels of 0..255
SEED = 0  # the data stay the same from run to run, whatever the seed of the run


class Synthetic(Dataset):
    """``size`` images of 64 x 64, sorted by class, the classes as equal in number as can be."""

    def __init__(self, num_classes: int, size: int, train: bool) -> None:
        self.place = "synthetic"
        self.split = "train" if train else "val"
        self.classes = [str(label) for label in range(num_classes)]
        self.labels = np.arange(size, dtype=np.int64) * num_classes // size
        colours = generator(SEED, "synthetic classes").integers(0, 256, (num_classes, GRID, GRID, 3))
        self.colours = colours.astype(np.uint8)

    def image(self, index: int) -> np.ndarray:
        from PIL import Image

        colours = Image.fromarray(self.colours[self.labels[index]])
        pattern = np.asarray(colours.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
        noise = generator(SEED, f"synthetic {self.split}", index).standard_normal(pattern.shape, np.float32)
        return np.clip(pattern + NOISE * noise, 0, 255).astype(np.uint8)

    def describe(self, index: int) -> str:
        return f"synthetic {self.split}[{index}]"


def open_synthetic(data: DataConfig, train: bool) -> Synthetic:
    """As many images as data.train_size or data.val_size says, of data.num_classes classes.

    Raises UserError where one of them is null, or data.root is not.
    """
    if data.root is not None:
        raise UserError(f"data.root is {data.root}, but data.source=synthetic reads no folder; set data.root=null.")
    key = "train_size" if train else "val_size"
    size = data.train_size if train else data.val_size
    if size is None:
        raise UserError(f"data.{key} is null, but data.source=synthetic has no size of its own; give a number of images.")
    if data.num_classes is None:
        raise UserError("data.num_classes is null, but data.source=synthetic has no classes of its own; give their number.")
    return Synthetic(data.num_classes, size, train)
