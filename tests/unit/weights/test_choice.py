"""Raw or EMA weights: the better by the recorded evaluation, reported with both values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deit import notes
from deit.errors import UserError
from deit.runs import checkpoint, directory
from deit.weights.choice import choose, measured, recorded

PARTS = {name: {"a": np.ones(1, np.float32)} for name in ("model", "ema")}


def entry(top1: float, step: int, loss: float = 1.0) -> dict[str, float]:
    return {"top1": top1, "top5": 100.0, "loss": loss, "step": step}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A checkpoint after step 3 whose raw weights are far better than its average."""
    monkeypatch.setattr(notes, "_said", set())
    return saved(tmp_path, {"val": entry(87.04, 3), "val_ema": entry(10.42, 3)})


def saved(folder: Path, last: dict[str, dict[str, float]], step: int = 3) -> dict[str, Path]:
    run = directory.create(folder, "x")
    return checkpoint.weights_of_folder(checkpoint.write(run, step, PARTS, {"best": {}, "last": last}))


def test_auto_chooses_the_better_weights_and_reports_both(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    choice = choose(files, "auto", "run=x")
    assert (choice.weights, choice.file) == ("raw", files["val"])
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "run=x: uses the raw weights; top-1 raw 87.04 %, EMA 10.42 %" in told
    choose(files, "auto", "run=x")
    assert capsys.readouterr().err == ""  # once is enough


@pytest.mark.parametrize(
    ("raw", "ema", "taken"),
    [
        (entry(50, 3), entry(60, 3), "ema"),
        (entry(60, 3), entry(60, 3), "ema"),
        (entry(60, 3, loss=0.5), entry(60, 3, loss=0.6), "raw"),
        (entry(60, 3, loss=0.5), entry(60, 3, loss=float("nan")), "raw"),
        (entry(60, 3, loss=float("inf")), entry(60, 3, loss=9.0), "ema"),
    ],
)
def test_equal_accuracies_are_decided_by_the_loss(tmp_path: Path, raw: dict, ema: dict, taken: str) -> None:
    assert choose(saved(tmp_path, {"val": raw, "val_ema": ema}), "auto", "run=x").weights == taken


def test_auto_chooses_ema_without_an_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert choose(saved(tmp_path, {}), "auto", "run=unevaluated").weights == "ema"
    assert "has not evaluated both kinds yet" in capsys.readouterr().err


def test_earlier_evaluation_is_used_if_the_step_has_none(tmp_path: Path) -> None:
    files = saved(tmp_path, {"val": entry(70, 2), "val_ema": entry(20, 2)})
    assert measured(files["val"]) is None
    assert recorded(files["val"]) == entry(70, 2)
    assert choose(files, "auto", "run=x").weights == "raw"


def test_requested_weights_are_used(files: dict[str, Path]) -> None:
    assert choose(files, "ema", "run=x").file == files["val_ema"]
    assert choose(files, "raw", "run=x").file == files["val"]
    del files["val_ema"]
    assert choose(files, "auto", "run=x").weights == "raw"
    with pytest.raises(UserError, match=r"run=x: has no EMA weights, but task\.weights is ema"):
        choose(files, "ema", "run=x")


def test_auto_chooses_by_the_monitor_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = {"val": entry(90.0, 3) | {"macro_f1": 50.0}, "val_ema": entry(80.0, 3) | {"macro_f1": 70.0}}
    state = {"best": {}, "last": last, "monitor": "val/macro_f1"}
    found = checkpoint.weights_of_folder(checkpoint.write(directory.create(tmp_path, "y"), 3, PARTS, state))
    assert choose(found, "auto", "run=y").weights == "ema"
    assert "macro F1 EMA 70.00 %, raw 50.00 %" in capsys.readouterr().err
