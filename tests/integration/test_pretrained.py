"""Weights into and out of real runs: `task=convert`, `model.pretrained=`, and the evaluation of files from elsewhere."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from composition import composed
from launching import SHORT, launch, only_run
from safetensors import safe_open

from deit.commands.table import prepare
from deit.config import frozen
from deit.config.schema import ModelConfig
from deit.engine.state import first_weights
from deit.files import read_json
from deit.preflight.pretrained import begins_pretrained
from deit.runs import checkpoint, status
from deit.runs.directory import RunDirectory
from deit.runs.journal import read
from deit.weights.fit import fit
from deit.weights.naming import to_mindspore
from deit.weights.read import read_weights

# A step that leaves the weights where they began.
STILL = ("optim.base_lr=1e-12", "optim.lr_base_size=null", "schedule.warmup_lr=0", "schedule.min_lr=0", "optim.weight_decay=0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, and its best moving average under timm's names as ``timm.safetensors``."""
    folder = tmp_path_factory.mktemp("trained")
    ended = launch(folder, *SHORT)
    assert ended.returncode == 0, ended.stderr
    ended = launch(folder, "task=convert", "run=last", "task.output=timm.safetensors", "task.naming=timm")
    assert ended.returncode == 0, ended.stderr
    return folder


def best(run: RunDirectory, weights: str) -> Path:
    part = {"val": "model", "val_ema": "ema"}[weights]
    return run.checkpoints / status.read(run).results["best"][weights]["checkpoint"] / f"{part}.safetensors"


def test_convert_writes_the_best_ema_weights_of_a_run(trained: Path) -> None:
    file = trained / "timm.safetensors"
    original, converted = read_weights(best(only_run(trained), "val_ema")), read_weights(file)
    assert "norm.weight" in converted and "norm.gamma" not in converted
    renamed = to_mindspore(converted)
    assert renamed.keys() == original.keys()
    assert all(np.array_equal(renamed[name], original[name]) for name in original)
    with safe_open(file, "np") as written:
        told = written.metadata()
    assert (told["format"], told["naming"], told["num_classes"]) == ("pt", "timm", "10")
    model = ModelConfig(**json.loads(told["model"]))
    assert model == dataclasses.replace(frozen.load(only_run(trained).config).model, pretrained=None)
    assert [path.name for path in trained.iterdir() if path.suffix == ".tmp"] == []
    assert len(list((trained / "runs").glob("*/*"))) == 1  # a conversion is no run


def test_convert_of_raw_and_last_weights(trained: Path, command: Callable, tmp_path: Path) -> None:
    run = only_run(trained)
    last = checkpoint.complete(run)[-1]
    cases = {
        "raw": ((f"run={run.path}", "task.weights=raw"), best(run, "val")),
        "last": ((f"run={run.path}", "task.which=last", "task.weights=ema"), last / "ema.safetensors"),
        "folder": ((f"checkpoint={last}", "task.weights=raw", *SHORT[:3]), last / "model.safetensors"),
        "file": ((f"checkpoint={trained}/timm.safetensors", *SHORT[:3]), best(run, "val_ema")),
    }
    for name, (arguments, source) in cases.items():
        outcome = command("task=convert", *arguments, f"task.output={name}.safetensors")
        assert outcome.code == 0, outcome.err
        found, wanted = read_weights(tmp_path / f"{name}.safetensors"), read_weights(source)
        assert found.keys() == wanted.keys() and all(np.array_equal(found[key], wanted[key]) for key in wanted), name
        assert "10,138 parameters of deit_micro for 10 classes, names of mindspore" in outcome.out


def test_convert_rejects_missing_ema_weights(trained: Path, command: Callable, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint.complete(only_run(trained))[-1], tmp_path / "raw_only")
    state = json.loads((folder / "state.json").read_text())
    del state["files"]["ema.safetensors"], state["sha256"]
    (folder / "state.json").write_text(json.dumps(state))
    common = ("task=convert", f"checkpoint={folder}", *SHORT[:3], "task.output=x.safetensors")
    outcome = command(*common, "task.weights=ema")
    assert outcome.code == 2 and "no EMA weights" in outcome.err
    assert command(*common).code == 0  # auto takes what there is
    assert read_weights(tmp_path / "x.safetensors").keys() == read_weights(folder / "model.safetensors").keys()


@pytest.mark.parametrize("file", ["timm.safetensors", "resaved.pth"])
def test_converted_file_has_the_same_accuracy_as_the_run(trained: Path, tmp_path: Path, file: str) -> None:
    path = trained / file
    if file.endswith(".pth"):
        path = as_pth(read_weights(trained / "timm.safetensors"), tmp_path / file)
    model = (*SHORT[:3], *(text for text in SHORT if text.startswith("data.val")), "hardware=cpu", "tracking=none")
    ended = launch(tmp_path, "task=evaluate", f"checkpoint={path}", *model)
    assert ended.returncode == 0, ended.stderr
    found, wanted = status.read(only_run(tmp_path)).results["val"], status.read(only_run(trained)).results["best"]["val_ema"]
    assert {key: found[key] for key in ("top1", "top5", "loss", "images")} == {
        key: wanted[key] for key in ("top1", "top5", "loss", "images")
    }


def as_pth(weights: dict[str, np.ndarray], path: Path) -> Path:
    """A file as torch.save would write it."""
    from torch_files import archive, tensor, text

    items = b""
    for number, (name, value) in enumerate(weights.items()):
        stride = tuple(step // value.itemsize for step in np.ascontiguousarray(value).strides)
        items += text(name) + tensor(numel=value.size, shape=value.shape, stride=stride, key=str(number))
    storages = {f"_{number}": value.tobytes() for number, value in enumerate(weights.values())}
    return archive(path, b"\x80\x02}(" + items + b"u.", **storages)


def test_training_starts_from_pretrained_weights(trained: Path, tmp_path: Path) -> None:
    """Another class count and another image size: the rest is taken, by the weights and by their moving average."""
    ended = launch(
        tmp_path,
        *SHORT,
        *STILL,
        f"model.pretrained={trained}/timm.safetensors",
        "data=synthetic",
        "data.num_classes=7",
        "model.img_size=48",
        "data.train_limit=64",
        "schedule.max_steps=2",
    )
    assert ended.returncode == 0, ended.stderr
    run = only_run(tmp_path)
    assert f"weights of {trained}/timm.safetensors" in ended.stdout
    for line in (
        "29 parameters taken as they are",
        "pos_embed resized from 4 x 4 to 6 x 6 patches",
        "head.weight is initial, for 7 classes instead of the file's 10",
    ):
        assert line in ended.stdout
    config = frozen.load(run.config)
    assert config.model.pretrained == f"{trained}/timm.safetensors"
    wanted, told = fit(read_weights(Path(config.model.pretrained)), first_weights(config))
    last = checkpoint.complete(run)[-1]
    for part in ("model", "ema"):
        found = checkpoint.read_part(last, part)
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, atol=1e-7, err_msg=f"{part} {name}")
    # The full list, for a person and for MLflow.
    assert read_json(run.pretrained)["taken"] == told.taken
    (event,) = [record for _, record in read(run.journal) if record.get("event") == "pretrained"]
    assert (event["step"], event["taken"]) == (0, 29) and event["replaced"].keys() == {"head.weight", "head.bias"}
    assert checkpoint.read_state(last)["model"]["pretrained"] is None


def test_resumed_run_does_not_need_its_pretrained_weights(trained: Path, tmp_path: Path) -> None:
    """The run, its frozen configuration and its checkpoints outlive the file that it began with."""
    file = shutil.copy(trained / "timm.safetensors", tmp_path / "begin.safetensors")
    cut = ("schedule.epochs=4", "schedule.max_steps=2")
    first = launch(tmp_path, *SHORT, *cut, f"model.pretrained={file}")
    assert first.returncode == 0, first.stderr
    Path(file).unlink()
    ended = launch(tmp_path, "resume=last", "schedule.max_steps=4")
    assert ended.returncode == 0, ended.stderr
    assert "parameters taken" in first.stdout and "parameters taken" not in ended.stdout
    run = only_run(tmp_path)
    assert checkpoint.read_state(checkpoint.complete(run)[-1])["step"] == 4
    prepare(composed("task=evaluate", f"run={run.path}"))  # nor does its evaluation


def test_resumed_run_without_a_checkpoint_needs_its_pretrained_weights(trained: Path, tmp_path: Path) -> None:
    """Killed before its first checkpoint, a resumed run begins at its beginning."""
    config = composed(*SHORT, f"model.pretrained={trained}/timm.safetensors")
    assert begins_pretrained(config)
    run = RunDirectory(tmp_path)
    resumed = dataclasses.replace(config, resume=str(run.path))
    assert begins_pretrained(resumed)
    checkpoint.write(run, 1, {"model": {}}, {})
    assert not begins_pretrained(resumed)


def test_prepare_replaces_the_name_by_the_path_of_the_file(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    for text, wanted in (
        ("timm.safetensors", trained / "timm.safetensors"),
        ("last", best(only_run(trained), "val_ema")),
    ):
        prepared = prepare(composed(*SHORT, f"model.pretrained={text}"))
        assert prepared.model.pretrained == str(wanted)
        assert prepare(prepared) == prepared  # a trial of a sweep is prepared twice


def test_error_names_the_model_of_the_file(trained: Path, command: Callable) -> None:
    outcome = command("model=deit_tiny", "data=digits", f"model.pretrained={trained}/timm.safetensors")
    assert outcome.code == 2 and "its metadata say deit_micro with img_size 32, 10 classes" in outcome.err


def test_last_is_resolved_once_for_all_trials_of_a_sweep(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the second trial starts, the first is the newest run; but `last` was asked before the sweep began."""
    monkeypatch.chdir(trained)
    config = composed(*SHORT, "model.pretrained=last")  # registers the plugins
    from hydra_plugins.deit_sweeps.launcher import Cards

    from deit.commands import table
    from deit.sweeps.compose import Composer, Draft

    (looked,) = Composer(None, None, table, Cards().look).looked_at([Draft(0, [], config, [])])
    assert looked.config.model.pretrained == str(best(only_run(trained), "val_ema"))
