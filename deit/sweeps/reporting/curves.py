"""The metrics of the trials by epoch, thinned out so that hundreds of trials fit on a page."""

from __future__ import annotations

from deit.pages import run_curves
from deit.pages.thinning import Curve, thin
from deit.sweeps.trial_results import Results

METRICS = ("val/top1", "val_ema/top1", "val/loss", "train/loss")
_POINTS = 50_000  # on the whole page, about 14 bytes each
_LEAST, _MOST = 24, 500  # points per curve


def curves(results: Results) -> dict[str, dict[int, Curve]]:
    """For each metric the thinned curves by trial number."""
    found: dict[str, dict[int, Curve]] = {}
    for row in results.rows:
        for name, curve in run_curves.read(row.trial.directory, METRICS).items():
            found.setdefault(name, {})[row.trial.number] = curve
    count = sum(map(len, found.values()))
    most = min(_MOST, max(_LEAST, _POINTS // max(count, 1)))
    return {name: {number: thin(curve, most) for number, curve in found[name].items()} for name in METRICS if name in found}
