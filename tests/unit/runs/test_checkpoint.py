"""Checkpoints of a run: written completely, read back exactly, damage is detected, the best are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from composition import composed
from prepared_runs import prepared

from deit.config import frozen
from deit.errors import UserError
from deit.files import write_json
from deit.runs import checkpoint, directory
from deit.runs.directory import RunDirectory


def new_run(tmp_path: Path, *overrides: str) -> RunDirectory:
    config = composed("experiment=quickstart", *overrides)
    run = directory.create(tmp_path / "runs", config.name)
    frozen.save(config, run.config)
    return run


WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.ones(4, np.float32), "scalar": np.array(3, np.int32)}


def test_checkpoint_round_trip_is_exact_and_leaves_no_debris(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    (run.checkpoints / ".step_00000001.99.tmp").mkdir()  # a writer that was killed
    (run.checkpoints / ".best.json.99.tmp").touch()  # and another
    path = checkpoint.write(run, 7, {"model": WEIGHTS}, {"epoch": 1})
    state = checkpoint.read_state(path)
    assert (state["step"], state["epoch"]) == (7, 1)
    for name, value in checkpoint.read_part(path, "model").items():
        assert value.shape == WEIGHTS[name].shape and value.dtype == WEIGHTS[name].dtype
        np.testing.assert_array_equal(value, WEIGHTS[name])
    checkpoint.write(run, 7, {"model": WEIGHTS}, {"epoch": 2})  # written again by a resumed run
    checkpoint.prune(run, 1)
    assert [p.name for p in run.checkpoints.iterdir()] == ["step_00000007"]
    assert checkpoint.read_state(path)["epoch"] == 2


def test_prune_keeps_the_last_and_the_best(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for step in (1, 2, 3, 4, 5):
        checkpoint.write(run, step, {"model": WEIGHTS}, {})
    write_json(run.best, {"val": {"checkpoint": "step_00000002"}, "val_ema": {"checkpoint": "step_00000005"}})
    checkpoint.prune(run, 2)
    assert [p.name for p in checkpoint.complete(run)] == ["step_00000002", "step_00000004", "step_00000005"]


def test_damage_is_detected(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    path = checkpoint.write(run, 1, {"model": WEIGHTS}, {})
    file = path / "model.safetensors"
    good = file.read_bytes()
    flipped = bytearray(good)
    flipped[-3] ^= 1
    for content, told in ((good[:-8], "truncated"), (bytes(flipped), "SHA-256")):
        file.write_bytes(content)
        with pytest.raises(UserError, match=told) as error:
            checkpoint.read_part(path, "model")
        assert "model.safetensors" in str(error.value)


def test_any_flipped_bit_of_a_state_is_detected(tmp_path: Path) -> None:
    """A resume passes over a damaged checkpoint, but ends at one that another program or a stranger seems to have made."""
    state = checkpoint.write(new_run(tmp_path), 1, {"model": WEIGHTS}, {}) / "state.json"
    good = state.read_bytes()
    found = 0
    for place in range(len(good)):
        for bit in range(8):
            state.write_bytes(good[:place] + bytes([good[place] ^ (1 << bit)]) + good[place + 1 :])
            try:
                checkpoint.read_state(state.parent)
            except checkpoint.Damaged:
                found += 1
    assert found > 0.9 * 8 * len(good)  # the others are in the name of the checksum


def test_checkpoint_of_another_format_is_rejected(tmp_path: Path) -> None:
    path = checkpoint.write(new_run(tmp_path), 1, {"model": WEIGHTS}, {})
    state = (path / "state.json").read_text()
    (path / "state.json").write_text(state.replace('"format": 1', '"format": 7'))
    with pytest.raises(UserError, match="has format 7, this program reads format 1"):
        checkpoint.read_state(path)


def test_prune_keeps_the_best_of_each_kept_checkpoint(tmp_path: Path) -> None:
    run = prepared(tmp_path, "kept")
    for step, best in ((1, 1), (2, 1), (3, 3)):
        pointer = {"val": {"checkpoint": f"step_{best:08d}", "step": best}}
        checkpoint.write(run, step, {"model": WEIGHTS}, {"best": pointer})
        checkpoint.point_at_best(run, pointer)
    checkpoint.prune(run, 2)
    assert len(checkpoint.complete(run)) == 3  # a run that falls back to step 2 still has the best of its time, step 1
    checkpoint.prune(run, 1)
    assert [path.name for path in checkpoint.complete(run)] == ["step_00000003"]
