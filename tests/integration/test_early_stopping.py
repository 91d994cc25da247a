"""A training that no longer improves stops; a resumed run continues counting; a stopped run says how to continue."""

from __future__ import annotations

from pathlib import Path

from launching import SMALL, launch, metrics, only_run

from deit.runs import checkpoint, status

# The rate is so small that no weight changes: the first evaluation, after epoch 1, stays the best.
STILL = ("optim.base_lr=1e-12", "schedule.min_lr=0", "schedule.warmup_epochs=0", "tracking=none")


def test_patience_continues_after_a_resume(tmp_path: Path) -> None:
    ended = launch(tmp_path, *SMALL, *STILL, "schedule.epochs=9", "schedule.patience=3", "schedule.max_steps=16")
    assert ended.returncode == 0 and "stopped early" not in ended.stdout, ended.stderr
    run = only_run(tmp_path)
    assert [step for step, _ in metrics(run)["val/top1"]] == [8, 16]

    ended = launch(tmp_path, "resume=last", "schedule.max_steps=null")
    assert ended.returncode == 0, ended.stderr
    said = " ".join(ended.stdout.split())
    assert "stopped early, val/top1 has not improved for 3 epochs" in said
    assert [step for step, _ in metrics(run)["val/top1"]] == [8, 16, 24, 32]  # epoch 1 is the best, 4 the last
    assert checkpoint.complete(run)[-1].name == "step_00000032"
    assert status.read(run).results["stopped_early"] == {"monitor": "val/top1", "epochs": 3}

    ended = launch(tmp_path, "resume=last")
    assert ended.returncode == 2 and "larger schedule.patience" in ended.stderr
