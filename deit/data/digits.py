"""1,797 scans of handwritten digits that come with scikit-learn: real data that needs no download.

The scans are 8 x 8 with 17 levels of grey. They are shown as 32 x 32 so that patches of a few pixels have
something to see.
"""

from __future__ import annotations

import numpy as np

from deit.config.schema import DataConfig
from deit.data.source import ArrayDataset, Subset
from deit.errors import UserError

SIDE = 32
WHITE = 16  # the largest value of the scans
HELD_OUT = 5  # every fifth scan of a class is for validation


def open_digits(data: DataConfig, train: bool) -> Subset:
    """A split of the digits: within each class, every fifth scan in the data set's order is held out.

    Raises UserError where data.root is given, since nothing is read from there.
    """
    from PIL import Image
    from sklearn.datasets import load_digits  # takes seconds to import, and no other source needs it

    if data.root is not None:
        raise UserError(f"data.root is {data.root}, but data.source=digits reads no folder; set data.root=null.")
    scans, labels = load_digits(return_X_y=True)
    grey = np.round(scans.reshape(-1, 8, 8) * 255 / WHITE).astype(np.uint8)
    large = [np.asarray(Image.fromarray(scan).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for scan in grey]
    images = np.broadcast_to(np.stack(large)[..., None], (len(large), SIDE, SIDE, 3))
    whole = ArrayDataset(images, labels, [str(digit) for digit in range(10)], "digits")
    return Subset(whole, np.flatnonzero(held_out(labels) != train))


def held_out(labels: np.ndarray) -> np.ndarray:
    """Which scans are for validation, as bool [N]; ``labels`` is [N]."""
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        held[np.flatnonzero(labels == label)[HELD_OUT - 1 :: HELD_OUT]] = True
    return held
