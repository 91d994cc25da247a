"""The metrics of the trials by epoch, thinned out so that hundreds of trials fit on a page."""

from __future__ import annotations

import math

from deit.pages.thinning import Curve, thin
from deit.runs import journal
from deit.runs.directory import RunDirectory
from deit.sweeps.trial_results import Results

METRICS = ("val/top1", "val_ema/top1", "val/loss", "train/loss")
_POINTS = 50_000  # on the whole page, about 14 bytes each
_LEAST, _MOST = 24, 500  # points per curve


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
