"""The contact sheet of a prediction: which images, their names, and that it never fails a prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from composition import composed
from PIL import Image

from deit.inference import contact_sheet, picture
from deit.inference.contact_sheet import MOST, chosen
from deit.inference.images import find_images
from deit.inference.prediction import Answers, write_predictions

CLASSES = ["cat", "狗", "a [/y] name"]


def test_contact_sheet_shows_at_most_twenty_evenly_spread_images() -> None:
    assert chosen(6) == [0, 1, 2, 3, 4, 5] and chosen(0) == []
    assert chosen(1000) == list(range(0, 1000, 50)) and len(chosen(MOST + 1)) == MOST


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in range(8):
        folder = tmp_path / "in" / CLASSES[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30 + number, 3), 30 * number, np.uint8)).save(folder / f"照 {number}.png")
    return tmp_path / "in"


def predicted(tree: Path, folder: Path) -> dict[str, object]:
    images = find_images(str(tree), "task.input", CLASSES, len(CLASSES))
    logits = np.tile(np.array([[3.0, 1.0, 0.0]], np.float32), (len(images), 1))
    answers = Answers(list(range(len(images))), logits, seen=np.zeros((len(images), 32, 32, 3), np.uint8))
    output = folder / "predictions.jsonl"
    return write_predictions(
        [answers], images, CLASSES, composed("experiment=quickstart"), output=output, folder=folder, topk=5
    )


def test_the_sheet_and_the_lines_name_the_classes(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[picture.Card] = []
    monkeypatch.setattr(
        contact_sheet, "draw", lambda path, title, lines, cards: (drawn.extend(cards), picture.draw(path, title, lines, cards))
    )
    results = predicted(tree, tmp_path)
    assert results["sheet"] == "predictions.png" and Image.open(tmp_path / "predictions.png").size[0] > 500
    assert results["said"]["cat/照 0.png"].startswith("cat 84.4 %, 狗 11.4 %")  # type: ignore[index]
    assert results["said"]["狗/照 1.png"].endswith("; labelled 狗")  # type: ignore[index]
    # The letters at hand have no Chinese.
    assert [drawn[0].name, drawn[-1].name] == ["image 1, is cat", "image 8, but is class 1"]
    assert [name for name, _ in drawn[0].shares] == ["cat", "class 1"] and drawn[0].original.shape == (20, 30, 3)


def test_contact_sheet_error_does_not_fail_the_prediction(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "predictions.png").mkdir()
    results = predicted(tree, tmp_path)
    assert "sheet" not in results and "IsADirectoryError" in str(results["no_sheet"])
    assert (tmp_path / "predictions.jsonl").read_text().count("\n") == 8
