"""The order in which a run is copied: the store always has a run that can be resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from object_store import Recorder, tree

from deit.runs import checkpoint, directory, status
from deit.storage.mirror_base import RECORD
from deit.storage.run_mirror import Mirror
from deit.storage.store import Unreachable


def test_run_in_the_store_can_be_resumed_at_any_moment(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "bench")
    run.config.write_text("x")
    weights = {"model": {"w": np.zeros(3, np.float32)}, "ema": {"w": np.ones(3, np.float32)}}

    def train(step: int) -> None:
        run.journal.write_text(f"up to {step}")
        (run.tracking / "store.json").write_text(f"sent up to {step}")
        best = {"val": {"checkpoint": checkpoint.folder_name(step), "step": step, "top1": float(step)}}
        checkpoint.write(run, step, weights, {"best": best})
        checkpoint.point_at_best(run, best)
        checkpoint.prune(run, keep_last=1)
        status.write(run, status.Status(progress={"step": step}))

    def state(step: int) -> str:
        return f"r/checkpoints/{checkpoint.folder_name(step)}/state.json"

    store, mirror = Recorder(), Mirror(run, "r")
    mirror._store = store
    train(1)
    mirror.send()
    place = store.order.index
    assert place("r/config.yaml") < place("r/journal.jsonl") < place("r/tracking/store.json") < place(state(1))
    others = [place(name) for name in store.there if "step_00000001/" in name and name != state(1)]
    assert len(others) == 2 and max(others) < place(state(1)) < place("r/checkpoints/best.json")
    assert store.order[-1] == "r/status.json" and not mirror.missing() and mirror.send() == 0

    train(2)  # and the store goes away at each file in turn: it always has a run that can be resumed
    store.order.clear()
    for _ in range(20):
        store.patience = 1
        whole = [step for step in (1, 2) if state(step) in store.there]
        assert whole
        assert int(store.there["r/journal.jsonl"].split()[-1]) >= max(whole)
        assert int(store.there["r/tracking/store.json"].split()[-1]) <= int(store.there["r/journal.jsonl"].split()[-1])
        pointed = json.loads(store.there["r/checkpoints/best.json"])["val"]["checkpoint"]
        assert f"r/checkpoints/{pointed}/state.json" in store.there
        mirror = Mirror(run, "r")  # a new process
        mirror._store = store
        try:
            mirror.send()
            break
        except Unreachable:
            continue
    gone = [place for place, name in enumerate(store.order) if name.startswith("-")]
    assert store.order[gone[0]] == f"-{state(1)}" and gone[0] > store.order.index(state(2))
    assert {name.removeprefix("r/") for name in store.there} == {n for n in tree(run.path) if not n.startswith(".")}
    assert (run.path / RECORD).exists()


def test_damaged_record_costs_only_another_copy(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "bench")
    run.best.write_text("best")
    (run.path / RECORD).write_text('{"address": "r", "fi')  # after a power failure
    store, mirror = Recorder(), Mirror(run, "r")
    mirror._store = store
    assert mirror.send() == len(store.there) > 0
    assert not Mirror(run, "r").missing()


def test_file_replaced_during_its_copy_is_copied_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = directory.create(tmp_path, "bench")
    run.best.write_text("older")
    store, mirror = Recorder(), Mirror(run, "r")
    mirror._store = store

    def replaced(source: Any, target: Any) -> None:
        target.write(source.read())
        newer = run.path / ".newer"
        newer.write_text("newer")  # of the same size
        newer.replace(run.best)

    monkeypatch.setattr("deit.storage.mirror_base.shutil.copyfileobj", replaced)
    mirror.send()
    assert store.there["r/checkpoints/best.json"] == b"older" and mirror.missing() == ["checkpoints/best.json"]
