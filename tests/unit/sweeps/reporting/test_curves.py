"""The curves of a sweep's page."""

from __future__ import annotations

import math
from pathlib import Path

from sweeps_on_disk import make_sweep, trial

from deit.runs.journal import Journal
from deit.sweeps import trial_results
from deit.sweeps.reporting import curves


def test_curves_are_thinned_but_keep_their_ends_and_peaks() -> None:
    curve = [(float(i), math.sin(i / 50) + (5.0 if i == 777 else 0.0)) for i in range(2000)]
    thin = curves.thin(curve, 40)
    assert len(thin) == 40 and thin[0] == curve[0] and thin[-1] == curve[-1] and curve[777] in thin
    assert thin == sorted(thin) and set(thin) <= set(curve)
    assert curves.thin(curve[:40], 40) == curve[:40]


def test_curves_go_over_epochs_without_nan(tmp_path: Path) -> None:
    one = trial(tmp_path, 3, [1.0], seed="1")
    journal = Journal(one.directory.journal)
    for step, loss in ((5, 2.0), (10, 1.0), (15, math.nan)):
        journal.metrics(step, {"train/loss": loss, "train/epoch": step / 10})
    journal.close()
    assert curves.curves(trial_results.read(make_sweep(tmp_path, [one]))) == {"train/loss": {3: [(0.5, 2.0), (1.0, 1.0)]}}
