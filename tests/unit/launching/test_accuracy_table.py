"""The table of a training's accuracies."""

from __future__ import annotations

from pathlib import Path

from composition import freeze
from rich.console import Console

from deit.config import frozen
from deit.launching.accuracy_table import accuracy_table
from deit.runs import directory
from deit.runs.directory import RunDirectory


def shown(*arguments: object) -> str:
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        console.print(accuracy_table(*arguments))  # type: ignore[arg-type]
    return capture.get()


def console_of(run: RunDirectory, rows: dict[str, dict[str, float]]) -> str:
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        console.print(accuracy_table(run, "results", rows, "epoch", calibration=True))
    return capture.get()


def test_each_kind_of_weights_the_teacher_and_bad_images(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "one")
    entry = {"top1": 12.3456, "top5": 50.0, "balanced_accuracy": 11.0, "macro_f1": 10.0, "loss": 2.00004, "epoch": 3}
    rows = {"val": entry, "val_ema": entry | {"top1": 99.9}, "val_ema_dist": entry}
    found = shown(run, "best results", rows, "epoch", {"top1": 1.0, "top5": 2.0, "loss": 3.0})
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in found.splitlines() if line.startswith("│")]
    assert lines[0] == ["raw", "12.346", "50.000", "11.000", "10.000", "2.0000", "3"] and lines[1][:2] == ["EMA", "99.900"]
    assert lines[2][0].startswith("EMA, ") and lines[3] == ["teacher", "1.000", "2.000", "-", "-", "3.0000", "-"]
    assert "bad image" not in found and "ECE" not in found
    calibrated = console_of(run, {"val": entry | {"ece": 3.14159}})
    assert "ECE %" in calibrated and "3.142" in calibrated
    for count, text in ((1, "1 bad image left out: "), (2, "2 bad images left out: ")):
        run.bad_images.write_text("{}\n" * count)
        assert f"{text}{run.bad_images.name}" in shown(run, "x", rows, "epoch")


def test_top_5_of_five_classes_is_left_out(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "one")
    rows = {"val": {"top1": 50.0, "top5": 100.0, "loss": 2.0, "epoch": 3}}
    for classes, there in ((5, False), (6, True)):
        frozen.save(freeze("experiment=quickstart", "data=synthetic", f"data.num_classes={classes}"), run.config)
        assert ("top-5" in shown(run, "x", rows, "epoch")) is there
