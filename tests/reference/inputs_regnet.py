"""The weights and images that both sides put into a RegNetY."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from deit.randomness import generator

# timm's name of each, and the side of its images: small ones, for the network is convolutional and a CPU slow.
VARIANTS = {"regnety_002": 64, "regnety_008": 64, "regnety_160": 32}
IMAGES = 2


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights for timm's names: float32, and int64 for torch's counters.

    Norms, their moving statistics and biases all differ from 0 and 1. The last norm of a residual branch is weak, so that
    the activations of some twenty blocks stay of the order of 1.
    """
    found = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            found[name] = np.array(1, np.int64)
            continue
        draws = generator(0, f"reference:{name}").standard_normal(shape, np.float32)
        if name.endswith("running_var"):
            value = np.exp(0.2 * draws)
        elif name.endswith("bn.weight"):
            value = (0.3 if "conv3" in name else 1) * (1 + 0.1 * draws)
        elif len(shape) == 1:
            value = 0.1 * draws
        else:
            value = draws * math.sqrt((1 if name.startswith("head") else 2) / math.prod(shape[1:]))
        found[name] = value.astype(np.float32)
    return found


def images(size: int) -> np.ndarray:
    """Normalised images [IMAGES, 3, size, size]."""
    return generator(0, "reference:images").standard_normal((IMAGES, 3, size, size), np.float32)
