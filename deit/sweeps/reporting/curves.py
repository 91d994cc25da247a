"""The metrics of the trials by epoch, thinned out so that hundreds of trials fit on a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deit.runs import journal
from deit.runs.directory import RunDirectory
from deit.sweeps.trial_results import Results

METRICS = ("val/top1", "val_ema/top1", "val/loss", "train/loss")
_POINTS = 50_000  # on the whole page, about 14 bytes each
_LEAST, _MOST = 24, 500  # points per curve

Curve = list[tuple[float, float]]  # (epoch, value)


def curves(results: Results) -> dict[str, dict[int, Curve]]:
    """For each metric the thinned curves by trial number."""
    found: dict[str, dict[int, Curve]] = {}
    for row in results.rows:
        for name, curve in _read(row.trial.directory).items():
            found.setdefault(name, {})[row.trial.number] = curve
    count = sum(map(len, found.values()))
    most = min(_MOST, max(_LEAST, _POINTS // max(count, 1)))
    return {name: {number: thin(curve, most) for number, curve in found[name].items()} for name in METRICS if name in found}


def _read(run: RunDirectory) -> dict[str, Curve]:
    steps: dict[str, list[tuple[int, float]]] = {}
    epochs_per_step = 0.0
    for _, record in journal.read(run.journal):
        values = record.get("metrics", {})
        if record.get("step") and "train/epoch" in values:
            epochs_per_step = values["train/epoch"] / record["step"]
        for name in METRICS:
            if math.isfinite(values.get(name, math.nan)):  # a diverged loss ends its curve
                steps.setdefault(name, []).append((record["step"], values[name]))
    if not epochs_per_step:  # not a training, or one that has just started
        return {}
    return {name: [(step * epochs_per_step, value) for step, value in points] for name, points in steps.items()}


def thin(curve: Sequence[tuple[float, float]], most: int) -> Curve:
    """At most ``most`` (3 or more) of the points, keeping the shape of the curve.

    Largest-Triangle-Three-Buckets (Steinarsson, 2013): keeps the first and last point, and from each bucket between them the
    point with the largest triangle to the previous kept point and the mean of the next bucket.
    """
    if len(curve) <= most:
        return list(curve)
    kept, inner = [curve[0]], len(curve) - 2
    edges = [1 + inner * i // (most - 2) for i in range(most - 1)] + [len(curve)]
    for start, end, after in zip(edges, edges[1:], edges[2:], strict=False):
        x0, y0 = kept[-1]
        ahead = curve[end:after] or curve[-1:]
        x2, y2 = sum(x for x, _ in ahead) / len(ahead), sum(y for _, y in ahead) / len(ahead)
        area = [abs((x0 - x2) * (y - y0) - (x0 - x) * (y2 - y0)) for x, y in curve[start:end]]
        kept.append(curve[start + area.index(max(area))])
    return [*kept, curve[-1]]
