"""What came of a sweep: a row for each trial, ranked, and the mean over seeds.

Everything is read from the directory of the sweep and those of its runs, so that it can be asked for at any time, also
while trials run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from deit.runs import journal, status
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import FINISHED, Attempt, Trial

SEED = "seed"  # the swept key over which means are taken


@dataclass
class Row:
    """One trial and its results. Only finished trials have a rank: the others were not given the same chance."""

    trial: Trial
    objectives: list[float | None]  # None where there is none yet, or where it is not finite
    results: dict[str, float]  # best/val_top1, best/val_epoch, last/val_loss ..., as far as the run has come
    seconds: float  # over all attempts
    card_seconds: float
    spans: list[tuple[float, float]]  # when each attempt began and ended, Unix seconds
    rank: int | None = None  # from 1; of several objectives first the Pareto front, then the front behind it
    front: bool = False  # no finished trial is better in one objective and as good in the others


@dataclass
class Group:
    """Finished trials that differ in their seed alone. ``mean`` and ``deviation`` belong to one objective each."""

    swept: dict[str, str]  # without the seed
    rows: list[Row]
    mean: list[float | None] = field(default_factory=list)
    deviation: list[float | None] = field(default_factory=list)  # sample standard deviation; None of a single value


@dataclass
class Results:
    """A sweep at a glance. ``rows`` are in the order of the trials' numbers."""

    info: dict[str, Any]
    objectives: list[str]
    directions: list[str]
    parameters: list[str]  # swept keys, in the order in which trials name them
    rows: list[Row]

    def ranked(self) -> list[Row]:
        """The best first, trials without a rank at the end."""
        return sorted(self.rows, key=lambda row: (row.rank is None, row.rank, row.trial.number))

    def groups(self) -> list[Group]:
        """Finished trials with the same swept values apart from the seed, the best mean first; none if no seed was swept."""
        if SEED not in self.parameters:
            return []
        found: dict[tuple[tuple[str, str], ...], Group] = {}
        for row in self.rows:
            if row.trial.state == FINISHED:
                others = {key: value for key, value in row.trial.swept.items() if key != SEED}
                found.setdefault(tuple(sorted(others.items())), Group(others, [])).rows.append(row)
        for group in found.values():
            for values in zip(*(row.objectives for row in group.rows), strict=True):
                known = [value for value in values if value is not None]
                group.mean.append(statistics.fmean(known) if known else None)
                group.deviation.append(statistics.stdev(known) if len(known) > 1 else None)
        sign = _sign(self.directions[0])
        return sorted(found.values(), key=lambda g: -math.inf if g.mean[0] is None else sign * g.mean[0], reverse=True)


def read(sweep: SweepDirectory) -> Results:
    """The results of ``sweep`` as they stand now."""
    info = sweep.read_info()
    objectives, directions = info["settings"]["objectives"], info["settings"]["directions"]
    trials = sweep.read_trials()
    rows = [_row(trial, objectives) for trial in trials]
    _rank(rows, directions)
    parameters = list(dict.fromkeys(key for trial in trials for key in trial.swept))
    return Results(info, objectives, directions, parameters, rows)


def _row(trial: Trial, objectives: list[str]) -> Row:
    now = status.read(trial.directory)
    values: list[float | None] = list(trial.objectives or ())
    if not values:
        latest = journal.latest(trial.directory.journal, objectives)
        values = [latest.get(name) for name in objectives]
    spans = [(attempt.began, _end(attempt, now)) for attempt in trial.attempts]
    return Row(
        trial=trial,
        objectives=[value if value is not None and math.isfinite(value) else None for value in values],
        results=_flat(now.results or now.progress),
        seconds=sum(end - began for began, end in spans),
        card_seconds=sum(
            (end - began) * (len(attempt.cards) or trial.cards)
            for attempt, (began, end) in zip(trial.attempts, spans, strict=True)
        ),
        spans=spans,
    )


def _end(attempt: Attempt, now: status.Status) -> float:
    # An attempt without an end runs, or its launch was killed. The run refreshes its status as long as it works.
    return attempt.ended if attempt.ended is not None else max(attempt.began, now.updated)


def _flat(results: dict[str, Any]) -> dict[str, float]:
    """``{"best": {"val": {"top1": 71.0}}}`` as ``{"best/val_top1": 71.0}``, the names of the journal."""
    return {
        f"{when}/{weights}_{name}": float(value)
        for when in ("best", "last")
        for weights, entry in (results.get(when) or {}).items()
        for name, value in entry.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def _sign(direction: str) -> int:
    return 1 if direction == "maximize" else -1


def _rank(rows: Iterable[Row], directions: Sequence[str]) -> None:
    """Give ranks: by the one objective, or by Pareto fronts, and within a front by the first objective."""
    signs = [_sign(direction) for direction in directions]
    points = [
        (row, tuple(sign * value for sign, value in zip(signs, row.objectives, strict=True) if value is not None))
        for row in rows
        if row.trial.state == FINISHED and None not in row.objectives
    ]
    points.sort(key=lambda item: item[1], reverse=True)
    rank, first = 1, True
    while points:
        # Only what stands before it in this order can be better, and if any is, one of the front is.
        front: list[tuple[Row, tuple[float, ...]]] = []
        for row, point in points:
            if not any(_dominates(other, point) for _, other in front):
                front.append((row, point))
        for row, _ in front:
            row.front, row.rank = first, rank
            rank += 1
        points = [(row, point) for row, point in points if row.rank is None]
        first = False


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))
