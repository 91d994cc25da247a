"""The shuffled data sets that the sampler of torch and this project's deal out."""

from __future__ import annotations

import numpy as np

from deit.randomness import generator

SEED, EPOCH = 3, 7
# data set, repetitions, ranks
CASES = {
    "ImageNet, 8 ranks": (1_281_167, 3, 8),
    "ImageNet, 2 repetitions, 5 ranks": (1_281_167, 2, 5),
    "1,000 images, 3 ranks": (1000, 3, 3),
}


def permutation(n: int) -> np.ndarray:
    """int64 [n]: how this project shuffles in epoch EPOCH of a run with seed SEED."""
    return generator(SEED, "order", EPOCH).permutation(n)
