"""Steps that are not finite: when a training stops, skips or rolls back, the images it names, and useless trainings."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from composition import composed
from launching import SMALL
from prepared_runs import prepared
from trainer import TINY

from deit.data.datasets import open_dataset
from deit.engine.meter import Bad
from deit.engine.nonfinite import Verdict, Watch, check_evaluated, check_trained, images_of
from deit.engine.recorder import Report
from deit.errors import UserError
from deit.files import read_json
from deit.runs import status


@pytest.mark.parametrize("passes", [1, 2])
def test_named_images_are_those_of_the_step(passes: int, tmp_path: Path) -> None:
    from deit.data.loader import TrainLoader

    config = composed(*SMALL, "hardware=cpu2", "data.batch_size=8", f"optim.accumulation_steps={passes}")
    data = open_dataset(config.data, train=True)
    steps = 256 // 16 // passes
    named = images_of(config, data, steps + 3, 2)
    assert named["epoch"] == 1
    for rank in (0, 1):
        batches = TrainLoader(config, data, rank, 2).epoch(1, start=3 * passes)
        taken = np.concatenate([next(batches).indices for _ in range(passes)])
        batches.close()
        assert [entry["index"] for entry in named["ranks"][rank]] == taken.tolist()


def test_rollback_stops_if_the_same_step_fails_again(tmp_path: Path) -> None:
    config = composed(*SMALL, "optim.on_nonfinite=rollback", "optim.max_nonfinite=2")
    run = prepared(tmp_path, "give_up")
    watch = Watch(config, Report(run, status.Status()))
    assert watch.judge([]) is Verdict.GO_ON
    assert watch.judge([Bad(10, np.nan, 1)]) is Verdict.ROLL_BACK
    assert not watch.returns_to(None) and not watch.returns_to(11) and watch.returns_to(8)
    assert watch.judge([Bad(9, np.nan, 1)]) is Verdict.ROLL_BACK and watch.returns_to(8)
    assert watch.judge([Bad(11, np.nan, 1)]) is Verdict.ROLL_BACK and not watch.returns_to(8)
    assert watch.judge([Bad(10, np.nan, 1)]) is Verdict.STOP


def test_stop_ends_at_the_first_step_and_skip_after_max_nonfinite_in_a_row(tmp_path: Path) -> None:
    run = prepared(tmp_path, "watched")
    report = Report(run, status.Status())
    stop = Watch(composed(*SMALL), report)
    assert stop.judge([Bad(4, np.nan, 1)]) is Verdict.STOP
    data = open_dataset(composed(*SMALL).data, train=True)
    told = str(stop.stop(run, data, 1, 0))
    assert (
        "step 4" in told and "diverged" in told and "optim.on_nonfinite=skip" in told and read_json(run.nonfinite)["step"] == 4
    )
    skip = Watch(composed(*SMALL, "optim.on_nonfinite=skip", "optim.max_nonfinite=3"), report)
    assert skip.judge([Bad(4, np.nan, 1), Bad(5, np.nan, 2)]) is Verdict.GO_ON
    assert skip.judge([Bad(7, np.nan, 1)]) is Verdict.GO_ON
    assert skip.judge([Bad(8, np.nan, 2), Bad(9, np.nan, 3)]) is Verdict.STOP
    assert "step 9: optim.max_nonfinite=3 steps in a row" in str(skip.stop(run, data, 1, 0))


@pytest.mark.parametrize(
    ("skipped", "loss", "said"),
    [
        (4, 2.3, "no step has changed the weights: in each of the 4 steps"),
        (5, 2.3, "no step has changed the weights"),
        (1, math.nan, "val/loss is nan: the network's answers are not finite"),
        (0, math.inf, "val/loss is inf"),
    ],
)
def test_training_without_a_result_fails(skipped: int, loss: float, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        check_trained(composed(*TINY), 4, skipped, {"val": {"loss": loss}})
    assert caught.value.exit_code == 1 and "Lower optim.base_lr" in str(caught.value)
    check_trained(composed(*TINY), 4, 3, {"val": {"loss": 2.3}, "val_ema": {"loss": 99.0}})


def test_error_names_the_input_size_first() -> None:
    config = composed(*TINY, "precision=o2", "data.std=[1e-6,1e-6,1e-6]")
    with pytest.raises(UserError, match=r"\. Correct data\.mean=.*data\.std=\[1e-06.*lower optim.base_lr.*precision=fp32"):
        check_trained(config, 4, 4, {})
    with pytest.raises(UserError, match=r"^val/loss is nan.*Correct data\.mean=.*data\.std="):
        check_evaluated(config, "val", math.nan)
    with pytest.raises(UserError, match="The weights are not finite"):
        check_evaluated(composed(*TINY), "val", math.nan)
