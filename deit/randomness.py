"""Randomness as a function: the same (seed, stream, counters) gives the same numbers, anywhere, any time.

No RNG state is saved. Each use has its own stream name, so that crops, mixing and masks of one step share no numbers.
"""

from __future__ import annotations

import threading
import zlib
from functools import lru_cache

import numpy as np

_kept = threading.local()


def generator(seed: int, stream: str, *counters: int) -> np.random.Generator:
    """A generator for one choice, such as ``generator(seed, "augment", epoch, index)``.

    At most three counters, each a non-negative integer below 2**64. Philox counts up in the first of its four counter words,
    so two generators with different counters never overlap.
    """
    return np.random.Generator(np.random.Philox(key=_key(seed, stream), counter=_counter(counters)))


def moved_generator(seed: int, stream: str, *counters: int) -> np.random.Generator:
    """As ``generator``, in a fifth of the time: reuses one generator per thread, which the next call repositions."""
    if not hasattr(_kept, "bits"):
        _kept.bits = np.random.Philox(key=0)
        _kept.generator = np.random.Generator(_kept.bits)
        _kept.state = _kept.bits.state
    _kept.state["state"] = {"counter": _counter(counters), "key": _key(seed, stream)}
    _kept.bits.state = _kept.state
    found: np.random.Generator = _kept.generator
    return found


def _counter(counters: tuple[int, ...]) -> np.ndarray:
    if len(counters) > 3:
        raise ValueError(f"{len(counters)} counters given, at most three are possible")
    return np.array([0, *counters, *[0] * (3 - len(counters))], dtype=np.uint64)


@lru_cache(maxsize=64)
def _key(seed: int, stream: str) -> np.ndarray:
    return np.array([seed, zlib.crc32(stream.encode())], dtype=np.uint64)
