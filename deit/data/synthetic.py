"""Random images whose class can be learned: for trying and timing without data.

An image is the smooth colour pattern of its class with strong noise. It is a function of its split and number, made on demand,
so that the data set may have any size.
"""

from __future__ import annotations

import numpy as np

from deit.config.schema import DataConfig
from deit.data.source import Dataset
from deit.errors import UserError
from deit.randomness import generator

SIDE = 64
GRID = 4  # colours per side of a class pattern, interpolated between them
NOISE = 40.0  # standard deviation, in levels of 0..255
SEED = 0  # the data are the same for every seed of the run


class Synthetic(Dataset):
    """``size`` images of 64 x 64, sorted by class, with nearly equal class sizes."""

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
    """data.train_size or data.val_size images of data.num_classes classes.

    Raises UserError if one of them is null, or data.root is not.
    """
    if data.root is not None:
        raise UserError(f"data.root is {data.root}, but data.source=synthetic reads no folder; set data.root=null.")
    key = "train_size" if train else "val_size"
    size = data.train_size if train else data.val_size
    if size is None:
        raise UserError(f"data.{key} is null, but data.source=synthetic has no fixed size; give a number of images.")
    if data.num_classes is None:
        raise UserError("data.num_classes is null, but data.source=synthetic has no fixed classes; give their number.")
    return Synthetic(data.num_classes, size, train)
