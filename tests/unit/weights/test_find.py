"""From what a user types to weight files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from composition import composed
from fidelity import FIXTURES

from deit.errors import UserError
from deit.files import write_json
from deit.lookup.weight_files import find_weights
from deit.runs import checkpoint, directory
from deit.runs.directory import RunDirectory
from deit.weights.find import files_of_checkpoint

PLAIN = FIXTURES / "weights_plain.pth"


def run_with(folder: Path, best: dict[str, int], *, ema: bool = True) -> RunDirectory:
    """A run with checkpoints at steps 1 and 2, and its best ones."""
    config = composed("experiment=quickstart")
    run = directory.create(folder / "runs", "quickstart")
    from deit.config import frozen

    frozen.save(config, run.config)
    parts = {"model": {"a": np.ones(1, np.float32)}} | ({"ema": {"a": np.ones(1, np.float32)}} if ema else {})
    for step in (1, 2):
        checkpoint.write(run, step, parts, {})
    write_json(run.best, {prefix: {"checkpoint": checkpoint.folder_name(step)} for prefix, step in best.items()})
    return run


def test_find_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = composed(
        "experiment=quickstart", f"runs_dir={tmp_path}/runs", "tracking=none", "model.pretrained=x", "weights_dir=w"
    )
    averaged = run_with(tmp_path, {"val": 1, "val_ema": 2})

    def found(text: str) -> Path:
        return find_weights(text, "model.pretrained", config)

    step_1, step_2 = (averaged.checkpoints / checkpoint.folder_name(step) for step in (1, 2))
    assert found(str(averaged.path)) == found("last") == step_2 / "ema.safetensors"
    assert found(str(step_1)) == step_1 / "ema.safetensors"
    assert found(str(step_1 / "model.safetensors")) == step_1 / "model.safetensors"
    raw = run_with(tmp_path / "other", {"val": 1}, ema=False)
    assert found(str(raw.path)) == raw.checkpoints / checkpoint.folder_name(1) / "model.safetensors"

    with pytest.raises(UserError) as error:
        found("deit_small_patch16_224")
    told = str(error.value)
    for part in ("deit_small_patch16_224-cd65a155.pth", "https://dl.fbaipublicfiles.com/deit/", "88 MB", str(tmp_path / "w")):
        assert part in told
    (tmp_path / "w").mkdir()
    there = tmp_path / "w" / "deit_small_patch16_224-cd65a155.pth"
    there.write_bytes(b"")
    assert found("deit_small_patch16_224") == there

    (tmp_path / "notes.txt").write_text("")
    for text, told in (
        ("deit_smal_patch16_224", "Did you mean 'deit_small_patch16_224'"),
        ("notes.txt", "not a weight file"),
        ("w", "config.yaml is missing"),
        ("0123456789abcdef0123456789abcdef", "MLflow run id"),
    ):
        with pytest.raises(UserError, match=f"model.pretrained={text}.*{told}"):
            found(text)


def test_files_of_checkpoint(tmp_path: Path) -> None:
    config = composed("experiment=quickstart", "tracking=none")
    folder = run_with(tmp_path, {"val": 1}).checkpoints / checkpoint.folder_name(1)
    assert files_of_checkpoint(str(folder), config) == {
        "val": folder / "model.safetensors",
        "val_ema": folder / "ema.safetensors",
    }
    assert files_of_checkpoint(str(PLAIN), config) == {"val": PLAIN}
    with pytest.raises(UserError, match="checkpoint=nothing: no such file or folder"):
        files_of_checkpoint("nothing", config)
