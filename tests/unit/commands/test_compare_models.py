"""The images of a comparison have the labels of the models, whatever the order of the class folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from composition import freeze
from PIL import Image

from deit.commands.compare_models import Model, open_images
from deit.config.schema import RunConfig
from deit.errors import UserError


def images_for(folder: Path, classes: list[str]) -> tuple[RunConfig, list[Model]]:
    for name in ("cat", "dog"):
        (folder / "val" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(folder / "val" / name / "0.png")
    config = freeze("task=compare", "task.models=[a,b]", "data=imagefolder", f"data.root={folder}", "data.num_classes=2")
    return config, [Model("a", folder, config, classes, None, {}, "mindir", "float32", 1)]


def test_another_order_is_mapped(tmp_path: Path) -> None:
    config, models = images_for(tmp_path, ["dog", "cat"])
    assert open_images(config, models).labels.tolist() == [1, 0]


def test_other_names_are_refused(tmp_path: Path) -> None:
    config, models = images_for(tmp_path, ["cat", "lion"])
    with pytest.raises(UserError, match="only the model has lion; only the data has dog"):
        open_images(config, models)
