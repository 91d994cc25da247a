"""Unequal classes: how often a training sees each (``data.balance``), and how much each counts (``loss.class_weights``).

Pure functions of the labels, the seed and the epoch, the same on every rank.
"""

from __future__ import annotations

import numpy as np

from deit.randomness import generator


def quotas(counts: np.ndarray, balance: str) -> np.ndarray:
    """Images of each class in an epoch, int64 [K], as many in all as ``counts`` int64 [K], the images there are.

    ``none``: those there are; ``sqrt``: in the ratio of the square roots of their numbers; ``full``: equally many of each
    class. Fractions go to the classes with the largest ones. A class without images gets none.
    """
    shares = {"none": counts, "sqrt": np.sqrt(counts), "full": (counts > 0).astype(np.float64)}[balance]
    exact = counts.sum() * shares / shares.sum()
    found = np.floor(exact).astype(np.int64)
    missing = int(counts.sum() - found.sum())
    found[np.argsort(found - exact, kind="stable")[:missing]] += 1
    return found


class Balance:
    """The images of each epoch of a balanced training."""

    def __init__(self, labels: np.ndarray, balance: str, seed: int) -> None:
        """``labels``: int64 [N] of all images."""
        self.seed = seed
        self.members = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
        self.quotas = quotas(np.bincount(labels), balance)

    def drawn(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The images of an epoch, class by class, and how often each has come before in it; both int64 [N].

        Every image of a class comes equally often, as far as its quota can be divided; the images that come once more take
        turns from epoch to epoch.
        """
        images, before = [], []
        for label, (members, quota) in enumerate(zip(self.members, self.quotas, strict=True)):
            if quota == 0:
                continue
            whole, rest = divmod(int(quota), len(members))
            chosen = np.concatenate([np.tile(members, whole), members[self._turn(label, len(members), rest, epoch)]])
            images.append(chosen)
            before.append(_times_before(chosen))
        return np.concatenate(images), np.concatenate(before)

    def _turn(self, label: int, size: int, rest: int, epoch: int) -> np.ndarray:
        """Which ``rest`` of the ``size`` images of a class are next, in one permutation of the class after another."""
        places = epoch * rest + np.arange(rest)
        found = np.empty(rest, np.int64)
        for number in np.unique(places // size):
            of = places // size == number
            permutation = generator(self.seed, "balance", label, int(number)).permutation(size)
            found[of] = permutation[places[of] % size]
        return found


def _times_before(values: np.ndarray) -> np.ndarray:
    """For each value how many equal ones come before it."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    found = np.empty(len(values), np.int64)
    found[order] = np.arange(len(values)) - np.repeat(starts, np.diff(np.r_[starts, len(values)]))
    return found


def class_weights(labels: np.ndarray, classes: int, kind: str) -> np.ndarray | None:
    """The weight of each class in the loss, float32 [classes], with the mean 1 over all images; None for ``none``.

    ``balanced``: N / (K * images of the class), over the K classes that have images, as scikit-learn's; ``sqrt``: in the
    ratio of the square roots of these. A class without images has the weight 0.
    """
    if kind == "none":
        return None
    counts = np.bincount(labels, minlength=classes)
    power = {"balanced": 1.0, "sqrt": 0.5}[kind]
    raw = np.divide(1.0, counts**power, out=np.zeros(classes), where=counts > 0)
    return (raw * len(labels) / (raw * counts).sum()).astype(np.float32)
