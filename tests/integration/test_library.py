"""The functions for Python: the example notebook, and the same results as the commands."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import ROOT, Outcome
from PIL import Image
from trained_runs import SMALL, trained

from deit import Model, UserError, evaluate, load_model, predict

NOTEBOOK = ROOT / "examples" / "library.ipynb"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training of digits, and a few of them as files."""
    folder = tmp_path_factory.mktemp("my work #1")
    trained(folder, *SMALL, "data.val_limit=40", "data.eval_batch_size=16", "tracking=none")
    (folder / "photos").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 30 + number, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number} #.png")
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model("last", runs_dir=folder / "runs", weights="raw")


def test_notebook_runs_and_does_not_change_the_process(tmp_path: Path) -> None:
    short = tmp_path / "library.ipynb"
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "schedule.epochs=8" in text
    quick = ["schedule.epochs=2", "data.train_limit=320", *SMALL[1:]]
    short.write_text(text.replace("schedule.epochs=8", '\\", \\"'.join(quick)))
    work = tmp_path / "a b#c"
    work.mkdir()
    runner = ROOT / "tests" / "helpers" / "notebook.py"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, str(runner), str(short)], cwd=work, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    left = json.loads(ended.stdout.splitlines()[-1])
    assert {name for name in left["environment"] if not name.startswith("KMP_")} == set()  # those are scikit-learn's
    assert left["signals"] == [] and left["modules"] == [] and left["mode"] == 1  # MindSpore's own default


def test_evaluate_returns_the_results_of_the_command(folder: Path, model: Model, process: Callable[..., Outcome]) -> None:
    run = model.source.parents[2]
    evaluated = process("task=evaluate", f"run={run}", "tracking=none")
    assert evaluated.code == 0, evaluated.err
    (written,) = [
        path for path in run.parent.iterdir() if path != run and "name: evaluate" in (path / "config.yaml").read_text()
    ]
    wanted = json.loads((written / "status.json").read_text())["results"]["val"]
    found = evaluate(model)
    assert found == {key: value for key, value in wanted.items() if key not in ("step", "weights")} and found["images"] == 40


def test_every_kind_of_image_gives_the_same_prediction(folder: Path, model: Model) -> None:
    file = folder / "photos" / "0 #.png"
    image = Image.open(file)
    pixels = np.array(image)
    of_file, of_image, of_array = (predict(model, given, topk=3) for given in (file, image, pixels))
    assert of_image == of_array and {"file": str(file)} | of_image == of_file
    assert len(of_file["top"]) == 3 and of_file["class"] == model.classes[of_file["label"]]
    both = predict(model, [str(file), pixels], topk=3)
    assert [one["label"] for one in both] == [of_file["label"]] * 2
    several = predict(model, folder / "photos", full=True)
    assert [one["file"] for one in several] == ["0 #.png", "1 #.png", "2 #.png"]
    assert several[0]["probabilities"][of_file["label"]] == pytest.approx(of_file["probability"], abs=1e-6)
    assert len(predict(model, np.stack([pixels] * 35))) == 35  # more than are computed at once


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((8, 8, 4), np.uint8), "images[0]: is uint8 [8, 8, 4]; allowed: RGB [H, W, 3]"),
        (np.zeros((8, 8, 3)), "images[0]: is float64 [8, 8, 3], but pixels are whole numbers"),
        (np.full((8, 8, 3), 300), "images[0]: contains numbers from 300 to 300, but pixels are from 0 to 255"),
        (3, "images is a int; allowed: a path"),
        ([None], "images[0] is a NoneType; allowed: a path"),
        (["nowhere.png"], "images[0] is nowhere.png: no such file."),
        ("nowhere", "images=nowhere: no such file or folder."),
    ],
)
def test_invalid_images_are_rejected(images: object, said: str, model: Model) -> None:
    with pytest.raises(UserError) as error:
        predict(model, images)  # type: ignore[arg-type]
    assert said in str(error.value)


def test_invalid_models_are_rejected_with_the_message_of_the_command(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model=.*nothing: no such file or folder\. Allowed: a file"):
        load_model(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"hardware\.target is 'tpu'"):
        load_model("last", device="tpu", runs_dir=folder / "runs")


def test_data_with_other_classes_is_rejected(folder: Path, model: Model, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / split / name / "1.png")
    with pytest.raises(UserError, match="was trained on other classes"):
        evaluate(model, tmp_path)
    with pytest.raises(UserError, match="not a class of the model: cat, dog"):
        evaluate(model, tmp_path / "val")
    with pytest.raises(UserError, match="no such folder"):
        evaluate(model, tmp_path / "nowhere")


def test_split_of_the_run_is_not_used_for_other_data(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with a seed of its own split was refused on a folder that has train/ and val/."""
    for split in ("train", "val"):
        for name in model.classes:
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / split / name / "0.png")
    data = dataclasses.replace(model.config.data, split_seed=1)
    monkeypatch.setattr(model, "config", dataclasses.replace(model.config, data=data))
    assert evaluate(model, tmp_path)["images"] == len(model.classes)


def test_exported_graph_can_be_loaded(folder: Path, model: Model, process: Callable[..., Outcome]) -> None:
    output = folder / "exported"
    ended = process(
        "task=export", f"run={model.source.parents[2]}", "task.weights=raw", "task.format=onnx", f"task.output={output}"
    )
    assert ended.code == 0, ended.err
    exported = load_model(output)
    wanted, found = evaluate(model), evaluate(exported)
    assert found == pytest.approx(wanted, rel=1e-4) and list(found) == list(wanted)
    answers = [predict(each, folder / "photos") for each in (model, exported)]
    assert [one["label"] for one in answers[0]] == [one["label"] for one in answers[1]]
