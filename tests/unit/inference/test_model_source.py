"""The network and class names of task.model, and its input images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from composition import composed
from PIL import Image
from trained_runs import trained

from deit.config.schema import RunConfig
from deit.config.tasks import InferenceTask, expect
from deit.errors import UserError
from deit.inference import model_source
from deit.preflight import networks


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an image and a run."""
    folder = tmp_path_factory.mktemp("model")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "image.png")
    trained(folder, classes=[f"class {number}" for number in range(10)])
    return folder


def predicting(place: Path, *typed: str) -> RunConfig:
    return composed("task=predict", f"task.input={place / 'image.png'}", f"runs_dir={place / 'runs'}", *typed)


def resolved(config: RunConfig) -> tuple[RunConfig, InferenceTask]:
    found = networks.resolved(config, expect(config.task, InferenceTask))
    return found, expect(found.task, InferenceTask)


def only_run(place: Path) -> Path:
    (run,) = (place / "runs" / "quickstart").iterdir()
    return run


@pytest.mark.parametrize(
    ("typed", "file"),
    [
        (("run=last",), "model"),
        (("run=last", "task.weights=ema"), "ema"),
        (("task.model=last",), "model"),
        (("task.model={run}/checkpoints/step_00000003",), "model"),
        (("task.model={run}/checkpoints/step_00000003/ema.safetensors",), "ema"),
        (("checkpoint={run}/checkpoints/step_00000003", "model=deit_micro"), "model"),
    ],
)
def test_every_way_to_name_the_weights_of_a_run(place: Path, typed: tuple[str, ...], file: str) -> None:
    run = only_run(place)
    small = ("model.depth=1", "model.embed_dim=24", "model.num_heads=3") if typed[0].startswith("checkpoint") else ()
    config, task = resolved(predicting(place, *(text.format(run=run) for text in typed), *small))
    assert task.model == str(run / "checkpoints" / "step_00000003" / f"{file}.safetensors")
    assert (config.data.num_classes, config.model.depth, config.model.embed_dim) == (10, 1, 24)
    assert model_source.class_names(task, 10) == [f"class {number}" for number in range(10)]


def test_class_names_file_takes_precedence_and_must_fit_the_count(place: Path) -> None:
    names = place / "names.txt"
    names.write_text("\ufeff" + "".join(f"n{number}\n\n" for number in range(10)), encoding="utf-8")
    _, task = resolved(predicting(place, "run=last", f"task.classes={names}"))
    assert task.classes == str(names) and model_source.class_names(task, 10) == [f"n{number}" for number in range(10)]
    with pytest.raises(UserError, match=r"contains 10 names, but the model has 7 classes"):
        model_source.read_names(str(names), 7)
    with pytest.raises(UserError, match=r"not readable as a list of names \("):
        model_source.read_names(str(place / "none.txt"), 10)


def test_names_that_do_not_fit_are_not_used(place: Path) -> None:
    _, task = resolved(predicting(place, "run=last"))
    assert model_source.class_names(task, 9) is None
    assert model_source.class_names(dataclasses.replace(task, model=None), 10) is None


@pytest.mark.parametrize(
    ("known", "folders", "shown"),
    [(["a", "b"], ["x", "y"], ["a", "b"]), (None, ["x", "y"], ["x", "y"]), (None, None, ["0", "1"])],
)
def test_which_names_are_shown(known: list[str] | None, folders: list[str] | None, shown: list[str]) -> None:
    assert model_source.shown_names(known, folders, 2) == shown


def test_an_export_by_its_folder_or_its_file(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "model.json").write_text("{}")
    (tmp_path / "export" / "model.onnx").write_bytes(b"")
    (tmp_path / "weights.safetensors").write_bytes(b"")
    folder = tmp_path / "export"
    assert model_source.export_folder(str(folder)) == folder == model_source.export_folder(str(folder / "model.onnx"))
    assert networks.is_onnx(str(folder)) and not networks.is_onnx(str(tmp_path / "weights.safetensors"))
    assert model_source.export_folder(str(tmp_path / "weights.safetensors")) is None
    assert model_source.export_folder(str(tmp_path / "other.mindir")) == tmp_path  # always part of an export
    assert model_source.run_of_export(str(tmp_path)) is None


def test_missing_images_are_reported(place: Path) -> None:
    config = predicting(place, "run=last")
    task = dataclasses.replace(expect(config.task, InferenceTask), input=str(place / "none"))
    with pytest.raises(UserError, match=r"task\.input.*none"):
        networks.resolved(dataclasses.replace(config, task=task), task)
