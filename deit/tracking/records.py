"""Batches of metrics from a journal, each with the offset after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from deit.runs import journal

BATCH = 1000  # maximum metrics in one call of MLflow


class Point(NamedTuple):
    """One value of one metric, with the time (Unix milliseconds) and step at which it was recorded.

    MLflow stores the same point once, however often it is sent, so time and step are always the recorded ones.
    """

    name: str
    value: float
    time: int
    step: int


class Batch(NamedTuple):
    """The points of some records, and the offset of the journal after them."""

    points: list[Point]
    offset: int


def batches(path: Path, offset: int) -> Iterator[Batch]:
    """All complete records of a journal from ``offset`` on, in batches of at most ``BATCH`` points.

    A record is never divided, so a record with more points makes a larger batch.
    """
    points: list[Point] = []
    start = offset
    for end, record in journal.read(path, offset):
        fresh = [Point(name, value, record["time"], record["step"]) for name, value in record.get("metrics", {}).items()]
        if points and len(points) + len(fresh) > BATCH:
            yield Batch(points, offset)
            points = []
        points = points + fresh if fresh else points
        offset = end
    if offset > start:
        yield Batch(points, offset)


def at_step(path: Path, step: int) -> list[Point]:
    """The points of one step in a journal."""
    return [
        Point(name, value, record["time"], step)
        for _, record in journal.read(path)
        if record["step"] == step
        for name, value in record.get("metrics", {}).items()
    ]


def first_time(path: Path) -> int | None:
    """The time of the first record in Unix milliseconds; None for an empty journal."""
    return next((record["time"] for _, record in journal.read(path)), None)


def last_step(path: Path) -> int:
    """The highest step of a journal, -1 for an empty one."""
    return max((record["step"] for _, record in journal.read(path)), default=-1)
