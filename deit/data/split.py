"""Which images of an unsplit set are the validation images: a pure function of a seed and of the files' names.

Each class is split by itself (stratified). Its images are ordered by a hash of (seed, name), so a new file moves at most the
images next to a boundary: all others stay in their split.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deit.config.class_names import normal
from deit.config.schema import DataConfig

VAL_FRACTION = 0.2  # where data.val_fraction is null
SEED = 0  # where data.split_seed is null
KEYS = ("val_fraction", "folds", "fold", "split_seed")  # of DataConfig, by which a set is split


@dataclass(frozen=True)
class Rule:
    """How a set is split: by ``fraction``, or if ``folds`` is not None into so many, of which ``fold`` is for validation."""

    fraction: float
    folds: int | None
    fold: int | None
    seed: int

    @classmethod
    def of(cls, data: DataConfig) -> Rule:
        """The rule of a configuration."""
        fraction = VAL_FRACTION if data.val_fraction is None else data.val_fraction
        return cls(fraction, data.folds, data.fold, SEED if data.split_seed is None else data.split_seed)

    def validation(self, names: Sequence[bytes], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which images are for validation, bool [N]; ``names`` are paths relative to data.root, ``labels`` int64 [N].

        Of each class round(fraction * n) images, but at least 1 and at most n - 1; its only image stays in training. A fraction
        of 1 takes all. The sizes of folds differ by at most one image per class.
        """
        chosen = np.zeros(len(names), bool)
        keys = np.array([_hash(self.seed, name) for name in names], np.uint64)
        order = np.lexsort((keys, labels))
        starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            chosen[order[start:end]] = self._of_class(int(labels[order[start]]), int(end - start))
        return chosen

    def _of_class(self, label: int, count: int) -> NDArray[np.bool_]:
        """The images of a class in the order of their hashes, bool [count]."""
        ranks = np.arange(count)
        if self.folds is None:
            if self.fraction == 1:
                return np.ones(count, bool)
            return ranks < min(max(1, int(count * self.fraction + 0.5)), count - 1)
        if count == 1:
            return np.zeros(1, bool)
        # Each class begins with another fold, so that the images of small ones are not all in the first.
        return (ranks * self.folds // count + label) % self.folds == self.fold


def _hash(seed: int, name: bytes) -> int:
    text = normal(os.fsdecode(name))  # macOS stores names as NFD
    digest = hashlib.blake2b(f"{seed}/".encode() + os.fsencode(text), digest_size=8).digest()
    return int.from_bytes(digest, "big")
