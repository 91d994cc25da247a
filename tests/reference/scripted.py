"""Randomness that both sides share: numbers written in advance replace those that each draws from its own generator.

``Script`` answers the calls of numpy's Generator, which this project makes, and those of Python's ``random`` and
numpy's old functions, which timm makes. A uniform number of the script becomes whatever is asked for by the
arithmetic that all of them use, so that both sides draw the same as long as they ask for the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np


class Script:
    """Gives out ``uniform`` numbers of [0, 1), ``normal`` and ``beta`` numbers, each in their order."""

    def __init__(self, uniform: Iterable[float], normal: Iterable[float] = (), beta: Iterable[float] = ()) -> None:
        self._uniform, self._normal, self._beta = iter(uniform), iter(normal), iter(beta)

    def spent(self) -> bool:
        """Whether all numbers were asked for; asks for them."""
        return not [*self._uniform, *self._normal, *self._beta]

    # numpy.random.Generator

    def random(self) -> float:
        return float(next(self._uniform))

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def integers(self, low: int, high: int | None = None, size: int | None = None) -> Any:
        if size is not None:
            return np.array([self.integers(low, high) for _ in range(size)])
        low, high = (0, low) if high is None else (low, high)
        # One possible value takes no number: Python's random and numpy's Generator agree in that.
        return low + int((high - low) * self.random()) if high - low > 1 else low

    def normal(self, mean: float, deviation: float) -> float:
        return mean + deviation * float(next(self._normal))

    def beta(self, a: float, b: float, size: int | None = None) -> Any:
        return float(next(self._beta)) if size is None else np.array([next(self._beta) for _ in range(size)])

    def permutation(self, n: int) -> np.ndarray:
        return np.argsort([self.random() for _ in range(n)])

    # Python's random

    def randint(self, low: int, high: int) -> int:
        return self.integers(low, high + 1)

    def choice(self, choices: list, size: int | None = None, replace: bool = True, p: Any = None) -> Any:
        """Also numpy.random.choice, without weights."""
        assert replace and p is None
        picked = self.integers(len(choices), size=size)
        return choices[picked] if size is None else [choices[i] for i in picked]

    gauss = normal

    # numpy.random

    def rand(self, size: int | None = None) -> Any:
        return self.random() if size is None else np.array([self.random() for _ in range(size)])


@contextmanager
def instead_of_numpy(script: Any) -> Iterator[None]:
    """numpy.random.rand, randint, beta and choice take from the script."""

    def randint(low: int, high: int, size: int | None = None) -> Any:
        return script.integers(low, high, size)

    with (
        mock.patch.object(np.random, "rand", script.rand),
        mock.patch.object(np.random, "randint", randint),
        mock.patch.object(np.random, "beta", script.beta),
        mock.patch.object(np.random, "choice", script.choice),
    ):
        yield
