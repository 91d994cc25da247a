"""What makes a data set useless as a whole is refused by check_data, too, not only by a training."""

from __future__ import annotations

from pathlib import Path

import pytest
from composition import freeze
from PIL import Image

from deit.commands.check_data import TASK
from deit.errors import UserError


def test_one_class_is_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "dog").mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / split / "dog" / "0.png")
    config = freeze("task=check_data", "data=imagefolder", f"data.root={tmp_path}")
    with pytest.raises(UserError, match="train: contains one class, dog; a classifier needs at least two"):
        TASK.prepare(config)
