"""Checkpoints from elsewhere: best.json and state.json name only files of their own folder, and no links."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deit.errors import UserError
from deit.files import write_json
from deit.runs import checkpoint, directory
from deit.runs.directory import RunDirectory


@pytest.fixture
def theirs(tmp_path: Path) -> RunDirectory:
    """A run with a checkpoint, as a stranger may hand it over."""
    run = directory.create(tmp_path / "runs", "theirs")
    path = checkpoint.write(run, 5, {"model": {"w": np.ones(3, np.float32)}}, {"model": {}, "num_classes": 2})
    write_json(run.best, {"val": {"checkpoint": path.name, "step": 5, "top1": 1.0}})
    assert checkpoint.weights_of_run(run, "best") == {"val": path / "model.safetensors"}
    return run


@pytest.mark.parametrize("name", ["../../outside", "/etc", "step_5", "step_00000005/..", 5, None, "step_00000005\n"])
def test_best_checkpoint_must_be_inside_its_run(name: object, theirs: RunDirectory) -> None:
    write_json(theirs.best, {"val": {"checkpoint": name, "step": 5, "top1": 1.0}})
    for use in (lambda: checkpoint.weights_of_run(theirs, "best"), lambda: checkpoint.prune(theirs, 1)):
        with pytest.raises(UserError, match=r"best\.json: names"):
            use()


@pytest.mark.parametrize("text", ["[1]", "{", '{"val": 3}', '{"other": {"checkpoint": "step_00000005"}}', "[" * 100_000])
def test_damaged_best_json_is_reported(text: str, theirs: RunDirectory) -> None:
    theirs.best.write_text(text)
    with pytest.raises(UserError, match=r"best\.json: damaged"):
        checkpoint.weights_of_run(theirs, "best")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": {"../../x.safetensors": {"bytes": 1, "sha256": "0"}}}, "not a file of a checkpoint folder"),
        ({"files": {"/etc/passwd": {"bytes": 1, "sha256": "0"}}}, "not a file of a checkpoint folder"),
        ({"files": {"model.safetensors": {"bytes": "many", "sha256": "0"}}}, "does not say what is in model.safetensors"),
        ({"files": {"model.safetensors": 3}}, "does not say what is in model.safetensors"),
        ({"files": []}, "lists no files"),
        ({"format": 99}, "has format 99"),
    ],
)
def test_state_json_names_only_files_next_to_it(change: dict, said: str, theirs: RunDirectory) -> None:
    state = checkpoint.complete(theirs)[0] / checkpoint.STATE
    state.write_text(json.dumps(json.loads(state.read_text()) | change))
    with pytest.raises(UserError, match=said):
        checkpoint.weights_of_run(theirs, "last")


def test_linked_checkpoint_files_are_rejected(theirs: RunDirectory, tmp_path: Path) -> None:
    (folder,) = checkpoint.complete(theirs)
    for name in ("model.safetensors", checkpoint.STATE):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        with pytest.raises(UserError, match=rf"{name}: is a link"):
            checkpoint.weights_of_run(theirs, "last")
        with pytest.raises(UserError, match=rf"{name}: is a link"):
            checkpoint.read_part(folder, "model")
        (folder / name).unlink()
        (tmp_path / name).rename(folder / name)
    folder.rename(tmp_path / folder.name)
    folder.symlink_to(tmp_path / folder.name)
    with pytest.raises(UserError, match="no last checkpoint yet"):
        checkpoint.weights_of_run(theirs, "last")
