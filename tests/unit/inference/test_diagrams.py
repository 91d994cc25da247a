"""The confusion matrix and the reliability diagram as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deit.inference import confusion, reliability_diagram


@pytest.mark.parametrize("classes", [3, 41])
def test_confusion_matrix_of_any_number_of_classes_is_repeatable(classes: int, tmp_path: Path) -> None:
    matrix = np.diag(np.arange(classes))  # class 0 has no images
    names = [f"a class with quite a long name {number}" for number in range(classes)]
    for name in ("one.png", "two.png"):
        confusion.draw(tmp_path / name, matrix, names, "title")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert min(Image.open(tmp_path / "one.png").size) > 300


def test_reliability_diagram_is_drawn_with_empty_bins_and_without_images(tmp_path: Path) -> None:
    sums = np.zeros((3, 15))
    reliability_diagram.draw(tmp_path / "empty.png", sums, float("nan"), "none")
    sums[:, 14] = 10, 9, 9.8
    reliability_diagram.draw(tmp_path / "one.png", sums, 8.0, "one bin")
    assert (tmp_path / "empty.png").read_bytes() != (tmp_path / "one.png").read_bytes()
