"""The images of a comparison get the labels of the models, whatever the order of the class folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from composition import freeze
from PIL import Image

from deit import notes
from deit.commands.compare_models import Model, add_recipes, open_images
from deit.config import frozen
from deit.config.schema import RunConfig
from deit.data.datasets import record_split
from deit.errors import UserError
from deit.runs.directory import RunDirectory


def images_for(folder: Path, classes: list[str]) -> tuple[RunConfig, list[Model]]:
    for name in ("cat", "dog"):
        (folder / "val" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(folder / "val" / name / "0.png")
    config = freeze("task=compare", "task.models=[a,b]", "data=imagefolder", f"data.root={folder}", "data.num_classes=2")
    return config, [Model("a", folder, config, classes, None, {}, "mindir", "float32", 1)]


def test_classes_in_another_order_are_mapped(tmp_path: Path) -> None:
    config, models = images_for(tmp_path, ["dog", "cat"])
    assert open_images(config, models).labels.tolist() == [1, 0]


def test_other_class_names_are_rejected(tmp_path: Path) -> None:
    config, models = images_for(tmp_path, ["cat", "lion"])
    with pytest.raises(UserError, match="only the model has lion; only the data has dog"):
        open_images(config, models)


def test_models_of_other_folds_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_said", set())
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (16, 16)).save(tmp_path / "photos" / name / f"{number}.png")
    data = ("data=imagefolder", f"data.root={tmp_path / 'photos'}", "data.folds=2")
    models = []
    for fold in range(2):
        run = RunDirectory(tmp_path / f"run{fold}")
        run.path.mkdir()
        config = freeze(*data, f"data.fold={fold}")
        frozen.save(config, run.config)
        record_split(run.split, config.data)
        models.append(Model(f"run{fold}", run.path, config, ["cat", "dog"], run, {}, "mindir", "float32", 1))
        models[-1].config.data.num_classes = 2
    compared = freeze("task=compare", f"task.models=[{tmp_path}/run0,b]")
    assert len(open_images(compared, models[:1])) == 4 and "note" not in capsys.readouterr().err
    open_images(compared, models)
    assert "task.models: run1 was trained on 4 of the 4 images" in capsys.readouterr().err


def test_runs_are_named_by_what_they_learnt_from_not_by_where_they_ran(tmp_path: Path) -> None:
    models = []
    for number, typed in enumerate((("seed=1", "hardware.max_restarts=2", "data.workers=1"), ("seed=2",))):
        run = RunDirectory(tmp_path / f"run{number}")
        run.path.mkdir()
        config = freeze("experiment=quickstart", *typed)
        frozen.save(config, run.config)
        facts = {"model": config.model.name}
        models.append(Model(f"run{number}", run.path, config, None, run, facts, "mindir", "float32", 1))
    add_recipes(models)
    assert [list(model.facts.items())[2:] for model in models] == [[("seed", "seed=1")], [("seed", "seed=2")]]
