"""The results of a sweep: a row for each trial, and the settings ranked by their mean over seeds or folds.

All is read from the directories of the sweep and its runs, so it works at any time, also while trials run.
"""

from __future__ import annotations

import functools
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from deit.comparison.statistics import ALPHA, Interval, fisher, holm, mean_interval, welch, wilson
from deit.runs import journal, status
from deit.runs.outcome import FINISHED
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import Attempt, Trial
from deit.scores import PERCENT
from deit.text import column, label

REPEATS = {"seed": "seeds", "data.fold": "folds"}  # the swept keys over which means are taken, and what their values are


@dataclass
class Row:
    """One trial and its results. Only finished trials have a rank, because others are not comparable."""

    trial: Trial
    objectives: list[float | None]  # None if missing or not finite
    results: dict[str, float]  # best/val_top1, best/val_epoch, last/val_loss ..., those recorded so far
    seconds: float  # over all attempts
    card_seconds: float
    spans: list[tuple[float, float]]  # start and end of each attempt, Unix seconds
    rank: int | None = None  # from 1; with several objectives first the Pareto front, then the next front
    front: bool = False  # on the Pareto front of the finished trials


@dataclass
class Setting:
    """Finished trials that differ only in their seed or fold, so that noise does not decide.

    ``intervals`` are 95 % intervals of the mean: Student's t over the trials; for a single one the binomial one of its
    validation images if the objective is an accuracy, which ignores the variation between trials, else None.
    """

    swept: dict[str, str]  # without seed and fold
    rows: list[Row]
    mean: list[float | None] = field(default_factory=list)
    deviation: list[float | None] = field(default_factory=list)  # sample standard deviation; None for a single value
    intervals: list[Interval | None] = field(default_factory=list)
    # For the first objective: whether it differs from the best setting; None for the best itself, and if untestable.
    distinguishable: bool | None = None
    p: float | None = None  # of that test, after Holm's correction for all settings

    @property
    def label(self) -> str:
        """Its swept values, or if there are none its trial."""
        return label(self.swept) or ("all trials" if len(self.rows) > 1 else f"trial {self.rows[0].trial.number}")


@dataclass
class Results:
    """A sweep at a glance. ``rows`` are in the order of the trials' numbers."""

    info: dict[str, Any]
    objectives: list[str]
    directions: list[str]
    parameters: list[str]  # swept keys, in the order of the trials
    rows: list[Row]

    def ranked(self) -> list[Row]:
        """The best first, trials without a rank at the end."""
        return sorted(self.rows, key=lambda row: (row.rank is None, row.rank, row.trial.number))

    @property
    def repeats(self) -> str:
        """What the trials of a setting are: ``seeds``, ``folds``, or ``runs`` if both differ."""
        swept = [name for key, name in REPEATS.items() if key in self.parameters]
        return "runs" if len(swept) > 1 else swept[0] if swept else "seeds"

    @property
    def repeated(self) -> bool:
        """Whether any setting has several trials."""
        return any(len(setting.rows) > 1 for setting in self.settings)

    @functools.cached_property
    def settings(self) -> list[Setting]:
        """The settings, the best mean of the first objective first."""
        found: dict[str, Setting] = {}
        for row in self.rows:
            if row.trial.state == FINISHED:
                others = {key: value for key, value in row.trial.swept.items() if key not in REPEATS}
                # Each trial of a search is its own setting, even if two are equal.
                key = str(row.trial.number if REPEATS.keys().isdisjoint(self.parameters) else sorted(others.items()))
                found.setdefault(key, Setting(others, [])).rows.append(row)
        for setting in found.values():
            for number, name in enumerate(self.objectives):
                known = _known(setting, number)
                setting.mean.append(statistics.fmean(known) if known else None)
                setting.deviation.append(statistics.stdev(known) if len(known) > 1 else None)
                setting.intervals.append(_interval(setting, known, name))
        sign = _sign(self.directions[0])
        ranked = sorted(found.values(), key=lambda s: -math.inf if s.mean[0] is None else sign * s.mean[0], reverse=True)
        self._compare(ranked)
        return ranked

    def _compare(self, ranked: Sequence[Setting]) -> None:
        """Compare each setting with the best: Welch's test over its trials, else Fisher's on the validation images."""
        best, tested = ranked[0] if ranked else None, []
        for setting in ranked[1:]:
            setting.p = _p(best, setting, self.objectives[0]) if best else None
            if setting.p is not None:
                tested.append(setting)
        for setting, p in zip(tested, holm([s.p for s in tested if s.p is not None]), strict=True):
            setting.p, setting.distinguishable = p, p < ALPHA

    def verdict(self) -> str | None:
        """One sentence on the best setting and those not distinguishable from it; None if nothing has finished."""
        if not self.settings or self.settings[0].mean[0] is None:
            return None
        best, others = self.settings[0], self.settings[1:]
        mean = column([best.mean[0]])[0]
        of = f"mean of {len(best.rows)} {self.repeats}" if len(best.rows) > 1 else f"one {self.repeats[:-1]}"
        said = f"best setting: {best.label}, {self.objectives[0]} {mean} ({of})"
        tied = sum(setting.distinguishable is False for setting in others)
        unknown = sum(setting.distinguishable is None for setting in others)
        if tied:
            said += f"; {tied} of {len(others)} others {'is' if tied == 1 else 'are'} not distinguishable from it"
        elif others and not unknown:
            said += "; all others are distinguishable from it"
        if unknown:
            said += f"; {unknown} cannot be tested: sweep several {self.repeats}"
        return said


def with_intervals(settings: Sequence[Setting], objective: int) -> list[str]:
    """``71.250 [70.100, 72.400]`` for each setting, with equal decimals; only the mean without an interval."""
    limits = [setting.intervals[objective] for setting in settings]
    means = [setting.mean[objective] for setting in settings]
    lows = [None if limit is None else limit.low for limit in limits]
    highs = [None if limit is None else limit.high for limit in limits]
    texts = column([*means, *lows, *highs], of=means)
    count = len(settings)
    return [
        texts[place] if limit is None else f"{texts[place]} [{texts[count + place]}, {texts[2 * count + place]}]"
        for place, limit in enumerate(limits)
    ]


def against_best(setting: Setting, best: Setting) -> str:
    """``best``, ``not distinguishable``, ``worse``, or empty if it cannot be tested."""
    if setting is best:
        return "best"
    return {True: "worse", False: "not distinguishable", None: ""}[setting.distinguishable]


def _known(setting: Setting, objective: int) -> list[float]:
    return [value for row in setting.rows if (value := row.objectives[objective]) is not None]


def _interval(setting: Setting, known: Sequence[float], name: str) -> Interval | None:
    if len(known) > 1:
        limits = mean_interval(known)
        return Interval(max(0.0, limits.low), min(100.0, limits.high)) if name.endswith(PERCENT) else limits
    counts = _counts(setting, known, name)
    if counts is None:
        return None
    limits = wilson(*counts)
    return Interval(100 * limits.low, 100 * limits.high)


def _counts(setting: Setting, known: Sequence[float], name: str) -> tuple[int, int] | None:
    """Correct images and all images, over the trials; None if the objective is no accuracy, or images were not counted."""
    accuracy = re.fullmatch(r"(?:(best|last)/)?(val(?:_ema)?)[/_]top[15]", name)
    if accuracy is None or not known:
        return None
    counts = [row.results.get(f"{accuracy[1] or 'last'}/{accuracy[2]}_images") for row in setting.rows]
    if None in counts or len(known) != len(counts):
        return None
    images = [int(count) for count in counts if count is not None]
    return sum(round(value / 100 * count) for value, count in zip(known, images, strict=True)), sum(images)


def _p(best: Setting, other: Setting, name: str) -> float | None:
    first, second = _known(best, 0), _known(other, 0)
    if min(len(first), len(second)) > 1:
        return welch(first, second)
    counts = _counts(best, first, name), _counts(other, second, name)
    return None if counts[0] is None or counts[1] is None else fisher(*counts[0], *counts[1])


def read(sweep: SweepDirectory) -> Results:
    """The results of ``sweep`` as they are now."""
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
    # An attempt without an end is running, or its launch was killed. A run updates its status regularly.
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
    """Set the ranks: by the only objective, or by Pareto fronts, and within a front by the first objective."""
    signs = [_sign(direction) for direction in directions]
    points = [
        (row, tuple(sign * value for sign, value in zip(signs, row.objectives, strict=True) if value is not None))
        for row in rows
        if row.trial.state == FINISHED and None not in row.objectives
    ]
    points.sort(key=lambda item: item[1], reverse=True)
    rank, first = 1, True
    while points:
        # Only an earlier row in this order can be better, and if one is, one of the front is.
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
