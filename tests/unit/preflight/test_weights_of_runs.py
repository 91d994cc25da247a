"""The weights that a task reads: found once, and compared with the data, which is opened once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from composition import composed
from trained_runs import SMALL, trained

from deit.commands.table import prepare
from deit.config import frozen
from deit.config.schema import DataConfig
from deit.config.tasks import ExportTask, expect
from deit.data import datasets
from deit.data.source import Dataset
from deit.errors import UserError
from deit.exports.origin import find_origin, output_folder
from deit.preflight import recipe_data
from deit.runs import checkpoint, directory
from deit.weights.find import files_to_load


def _counted(found: list[bool], source: Any, data: DataConfig, train: bool) -> Dataset:
    found.append(train)
    return source(data, train)


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each data set that was opened was the training split."""
    monkeypatch.setattr(recipe_data, "_seen", {})
    found: list[bool] = []
    for name, source in datasets.SOURCES.items():
        monkeypatch.setitem(
            datasets.SOURCES, name, lambda data, train, source=source: found.append(train) or source(data, train)
        )
    return found


@pytest.mark.parametrize("task", ["evaluate", "export"])
def test_data_is_opened_once(tmp_path: Path, opened: list[bool], task: str) -> None:
    run = trained(tmp_path)
    config = prepare(composed(f"task={task}", f"run={run.path}"))
    assert opened == [False] and config.data.num_classes == 10


@pytest.mark.parametrize("task", ["evaluate", "export"])
def test_other_classes_are_rejected(tmp_path: Path, task: str) -> None:
    run = trained(tmp_path, classes=[*"abcdefghij"])
    with pytest.raises(UserError, match=r"run=.*: was trained on other classes than .* has"):
        prepare(composed(f"task={task}", f"run={run.path}"))


@pytest.mark.parametrize("task", ["evaluate", "export"])
def test_synthetic_data_has_the_configured_classes(tmp_path: Path, task: str) -> None:
    typed = (
        "model=deit_micro",
        "model.depth=1",
        "data=synthetic",
        "data.num_classes=4",
        "data.train_size=256",
        "data.val_size=8",
    )
    run = trained(tmp_path, *typed)
    assert prepare(composed(f"task={task}", f"run={run.path}")).data.num_classes == 4


def test_run_and_checkpoint_name_the_same_files(tmp_path: Path) -> None:
    run = trained(tmp_path)
    folder = run.checkpoints / "step_00000003"
    files = {"val": folder / "model.safetensors", "val_ema": folder / "ema.safetensors"}
    assert files_to_load(composed("task=evaluate", f"run={run.path}"), "best") == ("run", files)
    config = composed(*SMALL, "task=evaluate", f"checkpoint={folder}")
    assert files_to_load(config, "best") == ("checkpoint", files)
    empty = trained(tmp_path / "other")
    empty.best.unlink()
    with pytest.raises(UserError, match="this run has no best checkpoint yet"):
        files_to_load(composed("task=evaluate", f"run={empty.path}"), "best")
    assert files_to_load(composed("task=evaluate", f"run={empty.path}"), "last")[1].keys() == {"val", "val_ema"}


def test_run_of_another_task_is_reported(tmp_path: Path) -> None:
    run = trained(tmp_path)
    evaluation = directory.create(tmp_path / "evaluations", "evaluation")
    frozen.save(composed("task=evaluate", f"run={run.path}"), evaluation.config)
    for which in ("best", "last"):
        with pytest.raises(UserError, match=f"is a run of task=evaluate, which has no checkpoints; .*it used, {run.path}"):
            checkpoint.weights_of_run(evaluation, which)


@pytest.mark.parametrize(
    ("typed", "file", "weights"),
    [((), "model", "raw"), (("task.weights=ema",), "ema", "ema")],
)
def test_the_origin_of_an_export(tmp_path: Path, typed: tuple[str, ...], file: str, weights: str) -> None:
    run = trained(tmp_path)
    config = composed("task=export", f"run={run.path}", *typed)
    origin = find_origin(config)
    assert (origin.file.stem, origin.weights, origin.key) == (file, weights, "run")
    assert origin.run is not None and origin.run.path == run.path
    assert origin.source is not None and (origin.source.id, origin.source.step) == (run.id, 3)
    assert origin.metrics is not None and origin.metrics.top1 == {"raw": 60.0, "ema": 50.0}[weights]
    output = output_folder(config, origin)
    assert output == run.path / "exports" / f"{expect(config.task, ExportTask).format}_{weights}"
    output.mkdir(parents=True)
    with pytest.raises(UserError, match=rf"task\.output is null, so it would be {output}, which already exists"):
        output_folder(config, origin)


def test_file_outside_a_run_needs_an_output(tmp_path: Path) -> None:
    run = trained(tmp_path)
    copy = tmp_path / "best.safetensors"
    copy.write_bytes((run.checkpoints / "step_00000003" / "model.safetensors").read_bytes())
    config = composed(*SMALL, "task=export", f"checkpoint={copy}")
    origin = find_origin(config)
    assert (origin.run, origin.source, origin.metrics) == (None, None, None)
    with pytest.raises(UserError, match=r"does not belong to a run; give task\.output=FOLDER"):
        output_folder(config, origin)


def test_error_contains_the_recipe_of_the_checkpoint(tmp_path: Path) -> None:
    run = trained(tmp_path)
    state = json.loads((run.checkpoints / "step_00000003" / "state.json").read_text())
    assert state["classes"] == [*"0123456789"]
    with pytest.raises(UserError, match=r"model\.img_size|img_size"):
        prepare(composed(*SMALL, "model.img_size=48", "task=evaluate", f"checkpoint={run.checkpoints / 'step_00000003'}"))
