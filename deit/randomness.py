"""Randomness as a function: the same (seed, stream, counters) gives the same numbers, anywhere, any time.

No RNG state is saved. Each use has its own stream name, so that crops, mixing and masks of one step share no numbers.
"""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, stream: str, *counters: int) -> np.random.Generator:
    """A generator for one choice, such as ``generator(seed, "augment", epoch, index)``.

    At most three counters, each a non-negative integer below 2**64. Philox counts up in the first of its four counter words,
    so two generators with different counters never overlap.
    """
    if len(counters) > 3:
        raise ValueError(f"{len(counters)} counters given, at most three are possible")
    words = np.zeros(4, dtype=np.uint64)
    words[1 : 1 + len(counters)] = counters
    key = np.array([seed, zlib.crc32(stream.encode())], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=words))
