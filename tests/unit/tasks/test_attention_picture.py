"""The picture of task=explain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deit.engine.attention import Maps
from deit.tasks.attention_picture import Seen, draw


@pytest.mark.parametrize("heads", [1, 12])
def test_picture_of_any_number_of_heads_is_repeatable(heads: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    one = Maps("class token", np.full((2, 3), 1 / 6, np.float32), np.zeros((heads, 2, 3), np.float32))
    seen = Seen(pixels, "n" * 99, "图", [("cat", 0.5)], [one])
    for name in ("one.png", "two.png"):
        draw(tmp_path / name, seen, "title")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert Image.open(tmp_path / "one.png").width > 300 and len(list(tmp_path.iterdir())) == 2
