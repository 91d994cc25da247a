"""The page of a training: one file, safe for any class names, with scikit-learn's numbers."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import browse, needs_browser
from composition import composed
from sklearn.metrics import precision_recall_fscore_support

from deit.files import write_json
from deit.inference.thumbnail import data_uri
from deit.pages import run_page
from deit.pages.class_table import class_rows
from deit.runs import directory
from deit.runs.directory import RunDirectory
from deit.runs.journal import Journal

NAMES = ["<b>bold</b>", "cat & dog", "</script><script>alert(1)</script>", "图"]
MATRIX = np.array([[5, 1, 0, 0], [0, 7, 0, 0], [2, 0, 3, 0], [0, 0, 0, 0]])
BEST = {"val": {"top1": 80.0, "epoch": 3, "images": 18}, "val_ema": {"top1": 83.3, "epoch": 4, "images": 18, "loss": math.nan}}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run as a worker leaves it, in a folder with a blank, a quote and a `#`."""
    made = directory.create(tmp_path / "it's #1", "photos")
    made.overrides.write_text("- experiment=finetune\n- data.root=my photos\n")
    write_json(made.data, {"name": "photos", "train": {"images": 100}, "val": {"images": 18}})
    log = Journal(made.journal)
    for step in range(1, 2001):
        log.metrics(step, {"train/loss": 1 / step, "train/lr": 1e-3, "train/epoch": step / 500})
    for epoch in range(1, 5):
        log.metrics(epoch * 500 + (epoch == 4), {"val/top1": 20.0 * epoch, "val/loss": math.nan})
    log.close()
    made.figures.mkdir()
    mistake = {"index": 3, "label": 2, "predicted": 0, "confidence": 0.9, "own": 0.1, "name": "<i>.png"}
    record = {
        **{"weights": "raw", "step": 2000, "images": 18, "share": "", "classes": NAMES},
        "matrix": [[int(row), int(column), int(MATRIX[row, column])] for row, column in np.argwhere(MATRIX)],
        "reliability": {"sums": [[0, 18], [0, 15], [0, 16.5]], "ece": 8.3},
        "mistakes": [{**mistake, "picture": data_uri(np.zeros((4, 4, 3), np.uint8))}],
    }
    write_json(made.figures / "evaluation_val.json", record)
    return made


def written(run: RunDirectory) -> tuple[str, dict[str, Any]]:
    """The page, and the data in it."""
    run_page.write(run, composed("experiment=quickstart", "hardware=cpu"), BEST)
    text = run.report.read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return text, json.loads(data)


def test_page_is_one_file_and_escapes_names(run: RunDirectory) -> None:
    text, data = written(run)
    assert "<b>bold" not in text and "<script>alert" not in text and "<i>.png" not in text
    assert len(re.findall(r"<script", text)) == 2 and "default-src 'none'" in text and "img-src data:" in text
    assert re.sub(r"http://www\.w3\.org/2000/svg", "", text).count("http") == 1  # http-equiv of the policy
    assert [row[0] for row in data["evaluations"][0]["classes"]] == NAMES


def test_page_has_curves_results_and_next_commands(run: RunDirectory) -> None:
    _, data = written(run)
    assert [entry["weights"] for entry in data["best"]] == ["EMA", "raw"] and data["best"][0]["loss"] is None
    assert [found["weights"] for found in data["evaluations"]] == ["raw"]
    curves = data["curves"]
    assert curves["top-1 in %"]["raw weights"] == [[1.0, 2.0, 3.0, 4.002], [20.0, 40.0, 60.0, 80.0]]
    assert list(curves["loss"]) == ["training"] and len(curves["loss"]["training"][0]) == run_page.POINTS
    assert data["command"] == "python launch.py experiment=finetune 'data.root=my photos'"
    assert [command.split()[2] for _, command in data["next"]] == ["task=predict", "task=export", "task=register"]
    assert all(str(run.path) in command.replace("'\"'\"'", "'") for _, command in data["next"])
    assert ["training images", "100 of digits"] in data["recipe"]


def test_class_scores_equal_scikit_learn() -> None:
    labels, predicted = (np.repeat(axis.ravel(), MATRIX.ravel()) for axis in np.indices(MATRIX.shape))
    wanted = precision_recall_fscore_support(labels, predicted, labels=range(4), zero_division=0)
    rows = class_rows(MATRIX, NAMES)
    assert rows[0].images == 6 and rows[0].predicted == 7
    for kind, values in zip(("precision", "recall", "f1"), wanted[:3], strict=True):
        assert [getattr(row, kind) or 0 for row in rows] == pytest.approx(values.tolist())
    assert (rows[3].precision, rows[3].recall, rows[3].f1) == (None, None, None)


def test_macro_scores_leave_out_a_class_without_images(run: RunDirectory) -> None:
    _, data = written(run)
    found = data["evaluations"][0]
    assert found["balanced_accuracy"] == pytest.approx(100 * (5 / 6 + 1 + 3 / 5) / 3)
    assert found["macro_f1"] == pytest.approx(100 * (10 / 13 + 14 / 15 + 6 / 8) / 3)


def test_recorded_scores_of_all_processes_replace_those_of_one(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BEST, "val", BEST["val"] | {"macro_f1": 71.5, "balanced_accuracy": math.nan})
    found = written(run)[1]["evaluations"][0]
    assert found["macro_f1"] == 71.5 and found["balanced_accuracy"] is None


def test_run_without_figures_also_has_a_page(run: RunDirectory) -> None:
    (run.figures / "evaluation_val.json").unlink()
    run.overrides.unlink()
    _, data = written(run)
    assert data["evaluations"] == [] and data["command"] == "python launch.py"


def test_small_pictures_keep_their_pixels() -> None:
    rng = np.random.default_rng(0)
    assert data_uri(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).startswith("data:image/png;base64,")
    photo = data_uri(rng.integers(0, 256, (600, 800, 3), dtype=np.uint8))
    assert photo.startswith("data:image/jpeg;base64,") and len(photo) < 40_000


@needs_browser
def test_browser_draws_the_page_without_errors(run: RunDirectory, tmp_path: Path) -> None:
    written(run)
    shown, said = browse(run.report.as_uri(), tmp_path)
    assert said == ""
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown and "Most confident mistakes" in shown and shown.count("<svg") == 5
