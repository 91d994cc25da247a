"""The paths that the data check passes to the worker, which has another working directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from composition import freeze
from PIL import Image

from deit.preflight.recipe_data import with_data


def test_files_have_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for number in range(2):
                pixels = np.full((16, 16, 3), 90 * number, np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / split / name / f"{number}.png")
    (tmp_path / "names.txt").write_text("dog\ncat\n")
    monkeypatch.chdir(tmp_path)
    config = freeze("data=imagefolder", "data.root=photos", "data.class_map=names.txt", "data.batch_size=2")
    data = with_data(config, trains=True).data
    assert "note:" not in capsys.readouterr().err
    with_data(freeze("data=imagefolder", "data.root=photos", "data.batch_size=6"), trains=True)
    said = capsys.readouterr().err
    assert "a step takes 6 images (data.batch_size=6 x hardware.cards=1" in said and "there are 4 training images" in said
    assert (data.root, data.class_map) == (str(tmp_path / "photos"), str(tmp_path / "names.txt"))
