"""Figures of the best evaluation, and the record of the data; their errors never end a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from composition import composed
from PIL import Image

from deit.data.loader import EvalBatch
from deit.data.record import fingerprint
from deit.data.source import ArrayDataset
from deit.engine.evaluation import Answers
from deit.engine.recorder import Report
from deit.engine.reliability import Reliability
from deit.files import read_json
from deit.runs import directory, journal, status
from deit.tasks import figures
from deit.tasks.context import Context
from deit.tasks.figures import Figures


def data(count: int = 6) -> ArrayDataset:
    rng = np.random.default_rng(0)
    return ArrayDataset(
        rng.integers(0, 256, (count, 40, 40, 3)).astype(np.uint8), np.arange(count) % 3, ["a", "b", "图"], "made"
    )


def answers() -> Answers:
    """Six images in two batches of four rows, two of them filled up; 1 and 4 are wrong, 4 more so."""
    found = Answers()
    indices = np.array([0, 1, 2, 3, 4, 5, -1, -1])
    labels = np.where(indices >= 0, indices % 3, 0).astype(np.int32)
    predicted = np.array([0, 2, 2, 0, 0, 2, 1, 1])
    losses = np.array([0.1, 1.0, 0.1, 0.2, 3.0, 0.3, 9.0, 9.0])
    for start in (0, 4):
        rows = slice(start, start + 4)
        batch = EvalBatch(np.zeros((4, 32, 32, 3), np.uint8), labels[rows], indices[rows] >= 0, indices[rows])
        found.add(batch, losses[rows], predicted[rows], np.full(4, 0.75))
    found.reliability = Reliability()
    found.reliability.add(np.full(6, 0.75), np.array([1, 0, 1, 1, 0, 1]))
    return found


@pytest.fixture
def context(tmp_path: Path) -> Context:
    config = dataclasses.replace(composed("experiment=quickstart", "hardware=cpu"), runs_dir=str(tmp_path))
    run = directory.create(tmp_path / "runs", "quickstart")
    return Context(run, config, Report(run, status.Status()))


def test_answers_give_the_confusion_matrix_and_the_worst_images() -> None:
    found = answers()
    assert found.confusion(3).tolist() == [[2, 0, 0], [1, 0, 1], [0, 0, 2]]
    assert [(one["index"], one["label"], one["predicted"]) for one in found.worst(12)] == [(4, 1, 0), (1, 1, 2)]
    assert found.worst(1)[0]["own"] == pytest.approx(np.exp(-3.0)) and found.worst(1)[0]["confidence"] == 0.75


def test_new_best_is_drawn_and_quick_successors_once(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    draw = figures.confusion.draw
    monkeypatch.setattr(figures.confusion, "draw", lambda path, *rest: (drawn.append(rest[-1]), draw(path, *rest)))
    now = 1000.0
    monkeypatch.setattr(figures.time, "monotonic", lambda: now)
    made = Figures(context, data())
    made.keep("val", answers(), 0)
    assert drawn == []
    now += figures.EVERY
    for step in (1, 2, 3):
        made.keep("val", answers(), step)
    made.keep("val_ema", answers(), 3)
    assert drawn == ["digits, raw weights, step 1"]
    made.draw()
    made.draw()
    assert drawn[1:] == ["digits, raw weights, step 3", "digits, EMA weights, step 3"]
    pictures = sorted(path.name for path in context.run.figures.glob("*.png"))
    assert pictures == [f"{kind}_{of}.png" for kind in ("confusion", "reliability", "worst") for of in ("val", "val_ema")]
    assert all(min(Image.open(context.run.figures / name).size) > 200 for name in pictures)


def test_the_page_has_the_best_evaluation_and_its_most_confident_mistakes(context: Context) -> None:
    made = Figures(context, data())
    made.keep("val", answers(), 1)
    made.keep("val", answers(), 2)
    made.page({"val": {"top1": 66.7, "epoch": 1, "images": 6}})
    found = read_json(context.run.figures / "evaluation_val.json")
    assert (found["weights"], found["step"], found["images"]) == ("raw", 2, 6)
    assert found["matrix"] == [[0, 0, 2], [1, 0, 1], [1, 2, 1], [2, 2, 2]]
    assert [(one["label"], one["predicted"], one["name"]) for one in found["mistakes"]] == [
        (1, 2, "made[1]"),
        (1, 0, "made[4]"),
    ]
    assert found["mistakes"][0]["picture"].startswith("data:image/png;base64,")
    text = context.run.report.read_text(encoding="utf-8")
    assert "data:image/png;base64," in text and "made[4]" in text


def test_drawing_error_is_one_event_and_does_not_end_the_run(context: Context) -> None:
    context.run.figures.write_text("in the way")
    made = Figures(context, data())
    for step in (1, 2):
        made.keep("val", answers(), step)
        made.draw()
    events = [record for _, record in journal.read(context.run.journal) if record.get("event") == "figures"]
    assert len(events) == 1 and "FileExistsError" in events[0]["problem"]


def test_digest_of_the_data_changes_with_its_content(context: Context) -> None:
    Figures(context, data()).note_data(train=data(), val=data(3))
    noted = read_json(context.run.data)
    assert noted is not None and noted["name"] == "digits" and noted["train"]["counts"] == [2, 2, 2]
    assert (noted["train"]["images"], noted["val"]["images"], noted["val"]["classes"]) == (6, 3, ["a", "b", "图"])
    digests = {noted["train"]["digest"], noted["val"]["digest"]}
    for change in ("images", "labels", "classes"):
        other = data()
        if change == "images":
            other.images[3, 0, 0, 0] ^= 1
        elif change == "labels":
            other.labels[0] = 1
        else:
            other.classes[0] = "x"
        digests.add(fingerprint(other)["digest"])
    assert len(digests) == 5 and fingerprint(data())["digest"] == noted["train"]["digest"]
