"""Randomness as a function: the same (seed, stream, counters) gives the same numbers, anywhere, any time.

No generator state is kept or saved. Each use names its stream, so that crops, mixing and masks of the same
step do not share numbers.
"""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, stream: str, *counters: int) -> np.random.Generator:
    """A fresh generator for one choice, such as ``generator(seed, "augment", epoch, index)``.

    At most three counters; each is a non-negative integer below 2**64. Philox counts up in the first of its
    four counter words, so two generators with different counters never overlap.
    """
    if len(counters) > 3:
        raise ValueError(f"{len(counters)} counters given, Philox has room for three")
    words = np.zeros(4, dtype=np.uint64)
    words[1 : 1 + len(counters)] = counters
    key = np.array([seed, zlib.crc32(stream.encode())], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=words))
