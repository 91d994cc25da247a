"""Checkpoints in a run directory: which ones are kept."""

from __future__ import annotations

from pathlib import Path

from prepared_runs import WEIGHTS, prepared

from deit.runs import checkpoint


def test_prune_keeps_the_best_of_each_kept_checkpoint(tmp_path: Path) -> None:
    run = prepared(tmp_path, "kept")
    for step, best in ((1, 1), (2, 1), (3, 3)):
        pointer = {"val": {"checkpoint": f"step_{best:08d}", "step": best}}
        checkpoint.write(run, step, {"model": WEIGHTS}, {"best": pointer})
        checkpoint.point_at_best(run, pointer)
    checkpoint.prune(run, 2)
    assert len(checkpoint.complete(run)) == 3  # a run that falls back to step 2 still has the best of its time, step 1
    checkpoint.prune(run, 1)
    assert [path.name for path in checkpoint.complete(run)] == ["step_00000003"]
