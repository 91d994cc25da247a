"""Bad images in a data set: a real training and evaluation leave out the same images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_images import BROKEN, VAL, broken_folder
from command import Outcome
from launching import SHARED_CACHE, launch

from deit.files import read_json
from deit.runs.directory import RunDirectory
from deit.runs.journal import read


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return broken_folder(tmp_path / "images")


def test_training_and_evaluation_with_two_processes_leave_out_the_same_images(
    tree: Path, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tree.parent
    network = ("model=deit_micro", "model.img_size=32", "model.embed_dim=16", "model.depth=1", "model.num_heads=2")
    where = ("data=imagefolder", f"data.root={tree}", "data.eval_batch_size=4", "data.workers=2", "tracking=none")
    recipe = ("data.batch_size=4", "schedule.epochs=2", "schedule.warmup_epochs=0", "schedule.cooldown_epochs=0")
    recipe += ("tracking.log_every=5", "precision=fp32")
    broken = command(*network, *where, *recipe, "hardware=cpu")
    assert broken.code == 2 and "data.on_bad_image=skip" in broken.err and not (folder / "runs").exists()

    monkeypatch.setenv("DEIT_CACHE", str(SHARED_CACHE))  # not that of ``command``
    ended = launch(folder, *network, *where, *recipe, "hardware=cpu", "data.on_bad_image=skip", "name=trained")
    assert ended.returncode == 0, ended.stderr
    assert "5 bad images left out: bad_images.jsonl" in ended.stdout
    (path,) = (folder / "runs/trained").iterdir()
    run = RunDirectory(path)
    last = read_json(run.status)["results"]["last"]["val"]
    assert last["images"] == VAL - 2
    entries = [json.loads(line) for line in run.bad_images.read_text().splitlines()]
    expected = sorted((name.split("/")[0], str(tree / name)) for name in BROKEN)
    assert sorted((e["split"], e["file"]) for e in entries) == expected
    metrics = [(record["step"], record.get("metrics", {})) for _, record in read(run.journal)]
    counts = [(step, found["data/bad_images"]) for step, found in metrics if "data/bad_images" in found]
    first = sum(e["step"] <= 5 for e in entries if e["split"] == "train")
    assert counts == [(5, first), (10, 5), (15, 5), (20, 5)]

    by_two = launch(folder, "task=evaluate", f"run={run.path}", "task.which=last", "hardware=cpu2", "name=evaluated")
    assert by_two.returncode == 0, by_two.stderr
    (path,) = (folder / "runs/evaluated").iterdir()
    result = read_json(RunDirectory(path).status)["results"]["val"]
    assert result["images"] == VAL - 2 and result["top1"] == last["top1"]
    assert result["loss"] == pytest.approx(last["loss"], rel=1e-5)
    assert len(RunDirectory(path).bad_images.read_text().splitlines()) == 2
