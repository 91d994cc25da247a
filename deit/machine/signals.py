"""SIGINT and SIGTERM when something is still to be done before the end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Both signals call ``handler`` until the end of the block."""
    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, former in previous.items():
            signal.signal(number, former)


@contextmanager
def noted() -> Iterator[list[int]]:
    """Both signals only add their number to the yielded list."""
    numbers: list[int] = []
    with handled(lambda number, frame: numbers.append(number)):
        yield numbers
