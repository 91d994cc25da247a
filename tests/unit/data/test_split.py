"""Sets without train/ and val/: a folder of class folders, lists with labels; their split, and all that is rejected."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deit import notes
from deit.config.schema import DataConfig
from deit.data.datasets import check_images, open_dataset, record_split
from deit.data.source import Dataset
from deit.data.split import Rule
from deit.errors import UserError


def data(root: Path | None, **changes: object) -> DataConfig:
    sizes = {"num_classes": None, "train_size": None, "val_size": None, "train_limit": None, "val_limit": None}
    values = {"name": "photos", "source": "imagefolder", "root": None if root is None else str(root), **sizes, **changes}
    return DataConfig(**values)  # type: ignore[arg-type]


def names(dataset: Dataset) -> set[str]:
    return {dataset.name(index) for index in range(len(dataset))}


def both(config: DataConfig) -> tuple[set[str], set[str]]:
    return names(open_dataset(config, True)), names(open_dataset(config, False))


def refused(config: DataConfig, train: bool = True) -> str:
    with pytest.raises(UserError) as caught:
        open_dataset(config, train)
    assert caught.value.exit_code == 2
    return str(caught.value)


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, count in (("ant", 10), ("bee", 5), ("cat", 2), ("dog", 1)):
        for number in range(count):
            save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def rule(**changes: object) -> Rule:
    return Rule(**{"fraction": 0.2, "folds": None, "fold": None, "seed": 0, **changes})  # type: ignore[arg-type]


def files(count: int) -> list[bytes]:
    return [f"class {number % 4}/{number}.jpg".encode() for number in range(count)]


def labels(count: int) -> np.ndarray:
    return np.arange(count) % 4


def test_each_class_gives_its_share_and_keeps_an_image_for_training(photos: Path) -> None:
    train, val = both(data(photos))
    assert not train & val and len(train | val) == 18
    counts = {name: sum(file.startswith(name) for file in val) for name in ("ant", "bee", "cat", "dog")}
    assert counts == {"ant": 2, "bee": 1, "cat": 1, "dog": 0}
    opened = open_dataset(data(photos), False)
    assert opened.classes == ["ant", "bee", "cat", "dog"]
    assert [opened.classes[label] for label in opened.labels] == [opened.name(i).partition("/")[0] for i in range(4)]
    assert opened.image(0).shape == (8, 8, 3)
    _, most = both(data(photos, val_fraction=0.99))
    assert len(most) == 9 + 4 + 1  # each class keeps one for training
    assert len(open_dataset(data(photos, val_fraction=1.0), False)) == 18
    assert "contains 18 images, but none of them is for training" in refused(data(photos, val_fraction=1.0))


def test_a_split_is_a_function_of_seed_and_name() -> None:
    whole = rule().validation(files(400), labels(400))
    assert whole.sum() == 80
    order = np.random.default_rng(0).permutation(400)
    shuffled = rule().validation([files(400)[i] for i in order], labels(400)[order])
    assert np.array_equal(shuffled, whole[order])
    assert not np.array_equal(rule(seed=1).validation(files(400), labels(400)), whole)


@pytest.mark.parametrize("how", [rule(), rule(folds=5, fold=2)])
def test_new_files_move_only_images_at_a_boundary(how: Rule) -> None:
    before = how.validation(files(400), labels(400))
    after = how.validation(files(404), labels(404))[:400]
    assert (before != after).sum() <= 2 * 4  # one at each boundary of a class; by chance far fewer
    assert (before != after).sum() < before.sum() / 4


def test_folds_share_every_image_and_small_classes_differ() -> None:
    count = 403
    folds = np.array([rule(folds=5, fold=fold).validation(files(count), labels(count)) for fold in range(5)])
    assert (folds.sum(0) == 1).all()
    for label in range(4):
        of_class = folds[:, labels(count) == label].sum(1)
        assert of_class.max() - of_class.min() <= 1
    few = np.array([rule(folds=5, fold=fold).validation(files(8), labels(8)).sum() for fold in range(5)])
    assert few.sum() == 8 and few.max() <= 3
    assert not rule(folds=5, fold=0).validation([b"a"], np.array([0])).any()


def test_decomposed_names_split_like_composed_ones() -> None:
    composed = [f"café/{number}.jpg".encode() for number in range(20)]
    decomposed = [f"cafe\u0301/{number}.jpg".encode() for number in range(20)]
    both_ways = [rule().validation(each, np.zeros(20, np.int64)) for each in (composed, decomposed)]
    assert np.array_equal(*both_ways)


def test_which_folders_are_splits(photos: Path) -> None:
    save(photos / "train" / "engine.png")  # a class, since it has images and no folders
    assert open_dataset(data(photos), True).classes == ["ant", "bee", "cat", "dog", "train"]
    (photos / "train" / "old").mkdir()
    assert f"{photos} contains no folder val/, but 4 other folders (ant, bee, cat and 1 more)" in refused(data(photos))
    shutil.rmtree(photos / "train")
    (photos / "Validation" / "ant").mkdir(parents=True)
    assert "mv" in refused(data(photos), False) and "Validation" in refused(data(photos), False)
    shutil.rmtree(photos / "Validation")
    (photos / "empty").mkdir()
    assert f"{photos}/empty contains no images" in refused(data(photos))


def test_set_with_train_and_val_is_not_split_again(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            save(tmp_path / split / name / "1.png")
    assert len(open_dataset(data(tmp_path), True)) == 2
    said = refused(data(tmp_path, val_fraction=0.3, split_seed=2))
    assert said == f"data.val_fraction=0.3 data.split_seed=2: data.root={tmp_path} already has train/ and val/; leave them out."


def test_classes_without_validation_images_are_noted(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "_said", set())
    save(photos / "loose.png")
    check_images(open_dataset(data(photos), False), "error")
    assert "leaves out classes without an image (1): dog" in capsys.readouterr().err
    check_images(open_dataset(data(photos), True), "error")
    assert "images outside class folders (1): loose.png" in capsys.readouterr().err


def test_lists_in_all_forms(photos: Path) -> None:
    rows = [("ant/0.png", "insect"), ("ant/1.png", "insect"), ("cat/0.png", "pet"), ("dog/0.png", "pet")]
    table = "".join(f"{path}{{0}} {label}{{0}}x\n" for path, label in rows)
    (photos / "a.csv").write_text("path,label,note\n" + table.format(","), encoding="utf-8-sig")
    (photos / "b.csv").write_text("Path;Label;note\n" + table.format(";"))
    (photos / "c.tsv").write_text("path\tlabel\tnote\n\n" + table.format("\t"))
    (photos / "d.jsonl").write_text("\n".join(json.dumps({"path": path, "label": label}) for path, label in rows))
    found = [both(data(None, labels=str(photos / name))) for name in ("a.csv", "b.csv", "c.tsv", "d.jsonl")]
    assert all(each == found[0] for each in found) and len(found[0][1]) == 2
    opened = open_dataset(data(photos, labels=str(photos / "a.csv")), True)
    assert opened.classes == ["insect", "pet"] and sorted(opened.labels) == [0, 1]


def test_a_list_with_splits(photos: Path) -> None:
    file = photos.parent / "labels.csv"
    rows = ["ant/0.png,a,train", "cat/0.png,c,train", "ant/1.png,a,val", "dog/0.png,d,test"]
    file.write_text("\n".join(["path,label,split", *rows]))
    assert both(data(photos, labels=str(file))) == ({"ant/0.png", "cat/0.png"}, {"ant/1.png"})
    assert open_dataset(data(photos, labels=str(file)), False).classes == ["a", "c"]
    assert "data.folds=2 data.fold=0: data.labels=" in refused(data(photos, labels=str(file), folds=2, fold=0))
    file.write_text("\n".join(["path,label,split", *rows[:2]]))
    assert f"data.labels={file}: contains 2 images, but none of them is for validation" in refused(
        data(photos, labels=str(file)), False
    )
    file.write_text("\n".join(["path,label,split", *rows[:3], "bee/0.png,b,val"]))
    assert "line 5: b is a class without a training image" in refused(data(photos, labels=str(file)), False)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("x.txt", "path,label\n", "ends in '.txt'; allowed: .csv, .tsv, .jsonl"),
        ("x.csv", "", "line 1: the columns are missing; needed: path and label"),
        ("x.csv", "file,label\na,b\n", "line 1: the columns are file, label; needed: path and label"),
        ("x.csv", "path,label\n", "names no images"),
        ("x.csv", "path,label\nant/0.png,a\nant/1.png,\n", "line 3: no label"),
        ("x.csv", "path,label\nant/0.png,a\n\n,b\n", "line 4: no path"),
        ("x.csv", "path,label\nant/0.png,a,b\n", "line 2: 3 cells, but line 1 names 2 columns"),
        ("x.csv", 'path,label\n"ant/0.png,a\n', "line 2: unexpected end of data"),
        ("x.csv", "path,label\nant/0.png,a\nant/./0.png,b\n", "line 3: ant/0.png is already on line 2"),
        ("x.csv", "path,label,split\nant/0.png,a,dev\n", "line 2: split is 'dev'; allowed: train, val, test"),
        ("x.csv", "path,label,split\nant/0.png,a,val\nant/1.png,a\n", "line 3: no split, but line 2 has val"),
        ("x.csv", "path,label\nant/0.png,a\nant/1.png,a\nant/77.png,a\nant/78.png,b\n", "line 4: there is no ant/77.png in"),
        ("x.jsonl", '{"path": "a"\n', "line 1: is not JSON"),
        ("x.jsonl", '\n["a", "b"]\n', 'line 2: is ["a", "b"]; needed: an object'),
        ("x.jsonl", '{"path": "a", "label": true}\n', "line 1: label is True; allowed: text"),
    ],
)
def test_mistakes_in_lists_name_the_line(photos: Path, name: str, text: str, told: str) -> None:
    (photos / name).write_text(text)
    said = refused(data(photos, labels=str(photos / name), val_fraction=None))
    assert said.startswith(f"data.labels={photos / name}") and told in said


def test_lists_that_cannot_be_read(photos: Path) -> None:
    (photos / "y.csv").write_text("path,label\n0.png,a\n")
    assert f"there is no folder {photos}/no, where the paths" in refused(data(photos / "no", labels=f"{photos}/y.csv"))
    assert "cannot be read (No such file or directory)" in refused(data(photos, labels=f"{photos}/none.csv"))
    (photos / "x.csv").write_bytes("path,label\ncafé.png,a\n".encode("latin-1"))
    assert "is not UTF-8" in refused(data(photos, labels=f"{photos}/x.csv"))


@pytest.mark.parametrize("changes", [{}, {"folds": 3, "fold": 1}, {"labels": "labels.csv"}])
def test_recorded_split_does_not_change_with_new_files(photos: Path, changes: dict[str, object]) -> None:
    odd = os.fsdecode(b"ant/\xff .png")
    (photos / "ant/0.png").rename(photos / odd)
    images = [path for path in photos.glob("*/*.png") if path.name[0].isdigit()]
    listed = sorted(f"{path.parent.name}/{path.name},{path.parent.name}" for path in images)
    (photos / "labels.csv").write_text("\n".join(["path,label", *listed]))
    changes = {key: str(photos / value) if key == "labels" else value for key, value in changes.items()}
    before = [open_dataset(data(photos, **changes), train) for train in (True, False)]
    record_split(photos.parent / "split.jsonl", data(photos, **changes))
    for number in range(20, 60):
        save(photos / "bee" / f"{number}.png")
    again = data(photos, split_file=str(photos.parent / "split.jsonl"), **changes)
    for old, train in zip(before, (True, False), strict=True):
        new = open_dataset(again, train)
        assert [new.describe(i) for i in range(len(new))] == [old.describe(i) for i in range(len(old))]
        assert new.classes == old.classes and np.array_equal(new.labels, old.labels)
    if not changes:
        assert odd in names(before[0]) | names(before[1])
        assert names(open_dataset(data(photos), True)) != names(before[0])
    lost = photos / next(iter(names(before[0])))
    lost.unlink()
    open_dataset(again, False)  # an evaluation needs no training images
    assert f"there is no {lost.relative_to(photos)} in data.root={photos}; data.split_file=null reads other images" in refused(
        again
    )


def test_packed_images_must_be_those_of_the_run(photos: Path, command: Callable[..., Any]) -> None:
    record = photos.parent / "split.jsonl"
    record_split(record, data(photos))
    for name, key in (("same", "split_file=split.jsonl"), ("other", "split_seed=1")):
        assert command("task=pack", "data=imagefolder", "data.root=photos", f"data.{key}", f"task.output={name}").code == 0
    for train in (True, False):
        packed = open_dataset(data(photos.parent / "same", split_file=str(record)), train)
        folder = open_dataset(data(photos, split_file=str(record)), train)
        assert [packed.content(i) for i in range(len(packed))] == [folder.content(i) for i in range(len(folder))]
        assert "has other" in refused(data(photos.parent / "other", split_file=str(record)), train)


def test_test_images_are_evaluated_on_demand(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for name in ("cat", "dog"):
            for number in range(count):
                save(tmp_path / "set" / split / name / f"{number}.png")
    config = data(tmp_path / "set", eval_split="test")
    assert [len(open_dataset(config, train)) for train in (True, False)] == [6, 2]
    assert open_dataset(config, False).place == f"{tmp_path}/set/test"
    shutil.rmtree(tmp_path / "set/test")
    assert "contains no folder test/" in refused(config, False)

    file = tmp_path / "labels.csv"
    file.write_text(
        "path,label,split\ntrain/cat/0.png,a,train\nval/cat/0.png,a,val\nval/cat/1.png,a,test\nval/dog/1.png,z,test"
    )
    record_split(tmp_path / "split.jsonl", data(tmp_path / "set", labels=str(file)))
    for keys in ({"labels": str(file)}, {"split_file": str(tmp_path / "split.jsonl")}):
        assert ": z is a class without a training image" in refused(data(tmp_path / "set", **keys, eval_split="test"), False)
    file.write_text(file.read_text().replace(",z,", ",a,"))
    record_split(tmp_path / "split.jsonl", data(tmp_path / "set", labels=str(file)))
    tested = open_dataset(data(tmp_path / "set", split_file=str(tmp_path / "split.jsonl"), eval_split="test"), False)
    assert names(tested) == {"val/cat/1.png", "val/dog/1.png"}
    file.write_text("path,label\ntrain/cat/0.png,a\nval/cat/0.png,a\n")
    assert "has no column split, so no test images" in refused(data(None, labels=str(file), eval_split="test"), False)


def test_a_set_without_test_images(photos: Path) -> None:
    assert "has no test images; they are in test/" in refused(data(photos, eval_split="test"), False)
    record_split(photos.parent / "split.jsonl", data(photos))
    config = data(photos, split_file=f"{photos.parent}/split.jsonl", eval_split="test")
    assert "contains 18 images, but none of them is for testing" in refused(config, False)


def test_sets_with_train_and_val_record_no_split(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            save(tmp_path / "set" / split / name / "1.png")
    record_split(tmp_path / "split.jsonl", data(tmp_path / "set"))
    assert not (tmp_path / "split.jsonl").exists()
