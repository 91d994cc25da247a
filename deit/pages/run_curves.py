"""Metrics of a training by its epochs."""

from __future__ import annotations

import math
from collections.abc import Collection

from deit.pages.thinning import Curve
from deit.runs import journal
from deit.runs.directory import RunDirectory


def read(run: RunDirectory, names: Collection[str]) -> dict[str, Curve]:
    """The curve of each of the metrics ``names`` that the journal has; a diverged loss ends its curve.

    Empty if it is not a training, or one that has just started.
    """
    steps: dict[str, list[tuple[int, float]]] = {}
    epochs_per_step = 0.0
    for _, record in journal.read(run.journal):
        values = record.get("metrics", {})
        if record.get("step") and "train/epoch" in values:
            epochs_per_step = values["train/epoch"] / record["step"]
        for name in names:
            if math.isfinite(values.get(name, math.nan)):
                steps.setdefault(name, []).append((record["step"], values[name]))
    if not epochs_per_step:
        return {}
    return {name: [(step * epochs_per_step, value) for step, value in points] for name, points in steps.items()}
