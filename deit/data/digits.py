"""1,797 scans of handwritten digits that come with scikit-learn: real data that needs no download.

The scans are 8 x 8 with 17 levels of grey, enlarged to 32 x 32 so that small patches have some content.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from deit.config.schema import DataConfig
from deit.data.source import ArrayDataset, Subset
from deit.errors import UserError

SIDE = 32
WHITE = 16  # the largest value of the scans
HELD_OUT = 5  # every fifth scan of a class is for validation


def open_digits(data: DataConfig, train: bool) -> Subset:
    """A split of the digits: within each class, every fifth scan in the data set's order is held out.

    Raises UserError if data.root is set, which is not used.
    """
    if data.root is not None:
        raise UserError(f"data.root is {data.root}, but data.source=digits reads no folder; set data.root=null.")
    images, labels = _images()
    whole = ArrayDataset(images, labels, [str(digit) for digit in range(10)], "digits")
    return Subset(whole, np.flatnonzero(held_out(labels) != train))


@functools.cache  # a start looks at both splits several times
def _images() -> tuple[np.ndarray, np.ndarray]:
    """All images, uint8 [N, 32, 32, 3], and their digits, int64 [N]; read-only."""
    from PIL import Image

    scans, labels = _scans()
    grey = np.round(scans.reshape(-1, 8, 8) * 255 / WHITE).astype(np.uint8)
    large = [np.asarray(Image.fromarray(scan).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for scan in grey]
    labels.setflags(write=False)
    return np.broadcast_to(np.stack(large)[..., None], (len(large), SIDE, SIDE, 3)), labels


def held_out(labels: np.ndarray) -> np.ndarray:
    """Which scans are for validation, as bool [N]; ``labels`` is [N]."""
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        held[np.flatnonzero(labels == label)[HELD_OUT - 1 :: HELD_OUT]] = True
    return held


def _scans() -> tuple[np.ndarray, np.ndarray]:
    """The scans, float64 [N, 64], and their digits, int64 [N], as ``sklearn.datasets.load_digits`` returns them.

    They are read from scikit-learn's file: importing the package costs each training 1.5 seconds.
    """
    spec = find_spec("sklearn")
    path = Path(spec.origin).parent / "datasets/data/digits.csv.gz" if spec and spec.origin else None
    if path and path.exists():
        table = np.loadtxt(path, delimiter=",")
        return table[:, :-1], table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits  # a release that keeps its data elsewhere

    scans, labels = load_digits(return_X_y=True)
    return scans, labels
