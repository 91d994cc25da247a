"""task=check_data: its report, what it rejects, and that it writes nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from broken_images import BROKEN, bomb, broken_folder
from composition import freeze
from PIL import Image

from deit.commands.check_data import TASK
from deit.errors import UserError
from deit.files import read_json


def test_single_class_is_rejected(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "dog").mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / split / "dog" / "0.png")
    config = freeze("task=check_data", "data=imagefolder", f"data.root={tmp_path}")
    with pytest.raises(UserError, match="train: contains one class, dog; a classifier needs at least two"):
        TASK.prepare(config)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return broken_folder(tmp_path / "images")


def test_report_of_a_data_set_with_bad_and_duplicate_images(tree: Path, command: Callable) -> None:
    (tree / "val/b/copy.jpg").write_bytes((tree / "train/a/00.jpg").read_bytes())
    (tree / "train/b/[bold]twice.jpg").write_bytes((tree / "train/a/01.jpg").read_bytes())
    (tree / "train/a/Thumbs.db").write_text("x")
    (tree / "train/c").mkdir()
    (tree / "train/c/large.png").write_bytes(bomb(3000))
    arguments = ("task=check_data", "data=imagefolder", f"data.root={tree}", "data.max_pixels=8_000_000")
    before = sorted(path for path in tree.parent.rglob("*"))
    reports = []
    for workers in (0, 3):
        outcome = command(*arguments, f"data.workers={workers}", f"task.output=report{workers}.json")
        assert outcome.code == 1 and outcome.err == ""
        reports.append(read_json(tree.parent / f"report{workers}.json"))
    assert reports[0] == reports[1]
    assert sorted(path for path in tree.parent.rglob("*")) == sorted([*before, *tree.parent.glob("report?.json")])
    train, val = reports[0]["splits"]["train"], reports[0]["splits"]["val"]
    assert (train["images"], train["good"], val["images"], val["good"]) == (42, 38, 22, 20)
    assert train["bad_by_kind"] == {"damaged": 1, "empty": 1, "no image": 1, "too large": 1}
    assert [bad["file"] for bad in train["bad"] + val["bad"]] == [
        *(str(tree / name) for name in BROKEN[:3]),
        str(tree / "train/c/large.png"),
        str(tree / BROKEN[4]),
        str(tree / BROKEN[3]),
    ]
    assert train["images_of_class"] == {"a": 20, "b": 21, "c": 1} and val["images_of_class"]["c"] == 0
    assert train["width"] == {"least": 40, "median": 40.0, "most": 40}
    assert train["no_image_by_name"] == [str(tree / "train/a/Thumbs.db")]
    files = [[image["file"] for image in group] for group in reports[0]["equal_across_splits"] + reports[0]["equal_in_train"]]
    assert files == [
        [str(tree / "train/a/00.jpg"), str(tree / "val/b/copy.jpg")],
        [str(tree / "train/a/01.jpg"), str(tree / "train/b/[bold]twice.jpg")],
    ]
    assert reports[0]["equal_in_val"] == []
    for said in (
        "duplicates across training and validation",
        "train: duplicates under different classes",
        "[bold]twice.jpg",
    ):
        assert said in outcome.out


def test_sound_data_set_dry_run_and_rejected_arguments(tree: Path, command: Callable) -> None:
    assert command("task=check_data", "data=digits").code == 0
    here = ("task=check_data", "data=imagefolder", f"data.root={tree}")
    dry = command(*here, "dry_run=true", "task.output=report.json")
    assert dry.code == 0 and "would read 40 images" in dry.out and not (tree.parent / "report.json").exists()
    (tree.parent / "there.json").touch()
    for arguments, said in (
        (("task.output=report.txt",), "a .json file"),
        (("task.output=there.json",), "already exists"),
        (("task.output=nowhere/report.json",), "the folder nowhere does not exist"),
        (("checkpoint=x",), "uses only images"),
        (("optim.base_lr=1",), "optim.base_lr has no effect with task=check_data"),
        (("data.on_bad_image=skip",), "data.on_bad_image has no effect with task=check_data"),
    ):
        outcome = command(*here, *arguments)
        assert outcome.code == 2 and said in outcome.err and outcome.out == ""
