"""``report.html`` of a training: its curves, what its best evaluation got right and wrong, and the commands that follow."""

from __future__ import annotations

import dataclasses
import math
import shlex
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from deit.config import safe_yaml
from deit.config.schema import RunConfig
from deit.files import read_json, write_text
from deit.installation import program, words
from deit.pages import run_curves
from deit.pages.class_table import class_rows
from deit.pages.page import build
from deit.pages.thinning import thin
from deit.recipe.augmentation import summary
from deit.recipe.plan import plan, ranks
from deit.runs import journal
from deit.runs.directory import RunDirectory
from deit.scores import balanced_accuracy, macro_f1
from deit.text import duration, line_to_type

POINTS = 600  # of a curve
WEIGHTS = {"val": "raw", "val_ema": "EMA"}  # by the prefix of their metrics
CURVES = {
    "top-1 in %": {"val/top1": "raw weights", "val_ema/top1": "EMA weights"},
    "loss": {"train/loss": "training", "val/loss": "validation, raw", "val_ema/loss": "validation, EMA"},
    "learning rate": {"train/lr": "learning rate"},
}


def write(run: RunDirectory, config: RunConfig, best: dict[str, dict[str, Any]]) -> None:
    """Write the page of a training with these best results, by the prefix of their metrics; it appears only when complete."""
    write_text(run.report, page(run, config, best))


def page(run: RunDirectory, config: RunConfig, best: dict[str, dict[str, Any]]) -> str:
    """The page as text, from the files of the run directory."""
    script = files("deit.pages").joinpath("parts", "run.js").read_text(encoding="utf-8")
    instead = "The plots and tables are drawn by scripts in this page. Without them see the pictures in figures/ beside it."
    return build(f"{config.name} {run.id}", _data(run, config, best), [script], instead=instead)


def _data(run: RunDirectory, config: RunConfig, best: dict[str, dict[str, Any]]) -> dict[str, Any]:
    typed = safe_yaml.load(run.overrides) if run.overrides.exists() else None
    better = sorted(best, key=lambda prefix: best[prefix]["top1"], reverse=True)
    return {
        "name": config.name,
        "id": run.id,
        "command": shlex.join([*words(), *(typed or ())]),
        "written": time.strftime("%Y-%m-%d %H:%M:%S"),
        "took": duration(_seconds(run)),
        "recipe": _recipe(run, config),
        "best": [{"weights": WEIGHTS[prefix], **_finite(best[prefix])} for prefix in better],
        "curves": _curves(run),
        "evaluations": [
            found for prefix in better if (found := _evaluation(run.figures / f"evaluation_{prefix}.json", best[prefix]))
        ],
        "next": _next(run, config),
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no nan."""
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}


def _next(run: RunDirectory, config: RunConfig) -> list[tuple[str, str]]:
    launch, path = program(), run.path
    return [
        ("Predict the classes of other images", f"{launch} task=predict {line_to_type('task.model', path)} task.input=FOLDER"),
        ("Export the network", f"{launch} task=export {line_to_type('run', path)} task.format=onnx"),
        (
            "Register it in MLflow, to serve it",
            f"{launch} task=register {line_to_type('run', path)} task.registered_model_name={config.name} task.alias=champion",
        ),
    ]


def _recipe(run: RunDirectory, config: RunConfig) -> list[tuple[str, str]]:
    found = read_json(run.data) or {}
    train, val = (found.get(split) or {} for split in ("train", "val"))
    planned = plan(config, int(train.get("images", 0)))
    model, schedule = config.model, config.schedule
    return [
        ("model", f"{model.name}, {config.data.num_classes} classes"),
        ("started from", model.pretrained or "random weights"),
        ("training images", f"{train.get('images', 0):,} of {config.data.root or config.data.source}"),
        ("validation images", f"{val.get('images', 0):,}"),
        ("batch", f"{planned.global_batch} images in a step, on {ranks(config)} x {config.hardware.target}"),
        ("steps", f"{planned.total_steps:,} in {planned.epochs} epochs"),
        (
            "optimizer",
            f"{config.optim.name}, peak learning rate {planned.peak_lr:.3g}, {schedule.warmup_epochs} epochs of warmup",
        ),
        ("augmentation", summary(config.augment)),
        ("seed", str(config.seed)),
    ]


def _seconds(run: RunDirectory) -> float:
    """From the first to the last record, including pauses between launches."""
    times = [record["time"] for _, record in journal.read(run.journal)]
    return (times[-1] - times[0]) / 1000 if times else math.nan


def _curves(run: RunDirectory) -> dict[str, dict[str, list[list[float]]]]:
    points = run_curves.read(run, {name for lines in CURVES.values() for name in lines})
    return {
        title: {
            label: [[_short(number) for number in axis] for axis in zip(*thin(points[name], POINTS), strict=True)]
            for name, label in lines.items()
            if name in points
        }
        for title, lines in CURVES.items()
    }


def _evaluation(path: Path, best: dict[str, Any]) -> dict[str, Any] | None:
    """An evaluation that the worker has recorded (``deit/tasks/figures.py``), with what follows from its counts.

    The scores are those of ``best``, of all processes; of a run of an older program, which did not record them, those of the
    counted images.
    """
    found = read_json(path)
    if found is None:
        return None
    names: list[str] = found["classes"]
    matrix = np.zeros((len(names), len(names)), np.int64)
    for row, column, count in found["matrix"]:
        matrix[row, column] = count
    rows = class_rows(matrix, names)
    right, predicted, images = matrix.diagonal().tolist(), matrix.sum(0).tolist(), matrix.sum(1).tolist()
    scores = {"macro_f1": macro_f1(right, predicted, images), "balanced_accuracy": balanced_accuracy(right, images)}
    return {
        **{key: found[key] for key in ("weights", "step", "images", "share", "matrix", "reliability", "mistakes")},
        "classes": [dataclasses.astuple(row) for row in rows],
        **_finite({name: best.get(name, value) for name, value in scores.items()}),
    }


def _short(value: float) -> float:
    return float(f"{value:.5g}")
