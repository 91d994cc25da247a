"""Class folders as a data set: what is listed, left out and rejected."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deit import notes
from deit.config.schema import DataConfig
from deit.data.datasets import check_images, open_dataset
from deit.data.source import ArrayDataset, evenly, limited
from deit.errors import UserError


def data(source, **changes) -> DataConfig:
    """A data configuration that accepts what is found."""
    sizes = {"num_classes": None, "train_size": None, "val_size": None, "train_limit": None, "val_limit": None}
    return DataConfig(**{"name": source, "source": source, "root": None, **sizes, **changes})


def picture(mode="RGB", size=(40, 30)) -> Image.Image:
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return Image.fromarray(np.stack([x * 5, y * 7, (x + y) * 3], -1).astype(np.uint8)).convert(mode)


@pytest.fixture
def folder(tmp_path):
    """Three classes for training and two of them for validation, among files that are no images."""
    names = {"train/dog": ["b.jpg", "a.PNG"], "train/ant": ["x.webp"], "train/cat": ["1.bmp", "10.JPEG", "2.jpeg"]}
    names |= {"val/cat": ["v.jpg"], "val/ant": ["w.png", "u.png"]}
    for place, files in names.items():
        (tmp_path / place).mkdir(parents=True)
        for file in files:
            kind = {"jpg": "JPEG", "jpeg": "JPEG"}.get(file.split(".")[1].lower(), file.split(".")[1].upper())
            picture().save(tmp_path / place / file, kind)
    (tmp_path / "train/dog/.hidden.jpg").write_bytes(b"junk")
    (tmp_path / "train/dog/notes.txt").write_text("no image")
    (tmp_path / "train/.cache").mkdir()
    (tmp_path / "train/README").write_text("no class")
    return tmp_path


def refused(config, train=True) -> str:
    with pytest.raises(UserError) as caught:
        open_dataset(config, train)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_folder_is_listed_in_order(folder):
    train = open_dataset(data("imagefolder", root=str(folder)), True)
    assert train.classes == ["ant", "cat", "dog"]
    assert train.labels.tolist() == [0, 1, 1, 1, 2, 2] and train.labels.dtype == np.int64
    assert [train.describe(i) for i in range(len(train))] == [
        str(folder / "train" / name)
        for name in ("ant/x.webp", "cat/1.bmp", "cat/10.JPEG", "cat/2.jpeg", "dog/a.PNG", "dog/b.jpg")
    ]
    for index in range(len(train)):
        image = train.image(index)
        assert image.shape == (30, 40, 3) and image.dtype == np.uint8
        assert np.abs(image.astype(int) - np.asarray(picture())).mean() < 20


def test_validation_uses_the_labels_of_training(folder):
    val = open_dataset(data("imagefolder", root=str(folder), num_classes=3, val_size=3), False)
    assert val.classes == ["ant", "cat", "dog"]
    assert val.labels.tolist() == [0, 0, 1]
    assert val.describe(0).endswith("val/ant/u.png")


def test_folder_with_another_layout_is_rejected(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    assert refused(data("imagefolder")).startswith("data.root is null, but data.source=imagefolder")
    assert f"data.root: there is no folder {empty}/none" in refused(data("imagefolder", root=f"{empty}/none"))
    assert f"data.root: {empty} contains no folder train/" in refused(data("imagefolder", root=str(empty)))
    assert f"data.root: {empty} contains no folder val/" in refused(data("imagefolder", root=str(empty)), False)
    (empty / "train").mkdir()
    assert f"data.root: {empty} contains no folder val/" in refused(data("imagefolder", root=str(empty)))
    (empty / "val").mkdir()
    assert f"data.root: {empty}/train contains no class folders" in refused(data("imagefolder", root=str(empty)))
    config = data("imagefolder", root=str(folder))
    (folder / "val/cow").mkdir()
    assert f"data.root: {folder}/val/cow is a class that {folder}/train does not have" in refused(config, False)
    (folder / "train/cow").mkdir()
    assert f"data.root: {folder}/train/cow contains no images; files that end in .jpg" in refused(config)
    (folder / "train/cow").rmdir()
    assert f"data.root: {folder}/val/cow is a class" in refused(config, False)


def test_left_out_files_are_counted_and_named(folder, capsys, monkeypatch):
    """Images are read at any depth, as in torchvision and in a prediction; what is not read is said once."""
    monkeypatch.setattr(notes, "_said", set())
    (folder / "train/dog/more/deep").mkdir(parents=True)
    picture().save(folder / "train/dog/more/deep/c.jfif", "JPEG")
    picture().save(folder / "train/loose.jpg")
    (folder / "train/cat/gone.png").symlink_to("nowhere.png")
    (folder / "train/dog/again").symlink_to(folder / "train")  # an endless loop
    for junk in ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", ".ipynb_checkpoints"):
        (folder / "train" / junk).mkdir()
        picture().save(folder / "train" / junk / "x.jpg")
    train = open_dataset(data("imagefolder", root=str(folder)), True)
    assert train.classes == ["ant", "cat", "dog"]
    assert train.describe(6) == f"{folder}/train/dog/more/deep/c.jfif" and len(train) == 7
    assert train.left_out.loose == ["loose.jpg"] and train.left_out.broken == ["cat/gone.png"]
    check_images(train, "error")
    check_images(train, "error")
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    for part in (
        "images outside class folders (1): loose.jpg",
        "files without an image extension (2): dog/again, dog/notes.txt",
        "broken links (1): cat/gone.png",
    ):
        assert part in told


def test_empty_validation_class_is_allowed_and_reported(folder):
    (folder / "val/dog").mkdir()
    val = open_dataset(data("imagefolder", root=str(folder)), False)
    assert val.classes == ["ant", "cat", "dog"] and len(val) == 3
    assert val.left_out.lines() == ["classes without an image (1): dog"]


def test_names_in_nfc_and_nfd_are_one_class(folder):
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    for split, name in (("train", nfc), ("val", nfd)):
        (folder / split / name).mkdir()
        picture().save(folder / split / name / "x.png")
    val = open_dataset(data("imagefolder", root=str(folder)), False)
    assert val.classes == ["ant", nfc, "cat", "dog"] and nfd in val.describe(2) and val.image(2).shape == (30, 40, 3)
    (folder / "val" / nfc).mkdir()
    assert f"two folders called {nfc}, which differ only in their Unicode form" in refused(
        data("imagefolder", root=str(folder)), False
    )


def test_undecodable_file_name_becomes_text(folder):
    for split in ("train", "val"):
        place = os.fsencode(folder / split) + b"/caf\xe9"
        Path(os.fsdecode(place)).mkdir()
        picture().save(os.fsdecode(place + b"/x.png"))
    val = open_dataset(data("imagefolder", root=str(folder)), False)
    assert val.classes == ["ant", "caf\\xe9", "cat", "dog"] and val.image(2).shape == (30, 40, 3)
    json.dumps(val.classes, ensure_ascii=False).encode()  # as model.json has them


@pytest.mark.parametrize("other", ["validation", "Valid", "test"])
def test_folder_with_a_similar_name_is_suggested(folder, other):
    (folder / "val").rename(folder / other)
    told = refused(data("imagefolder", root=str(folder)))
    assert f"contains {other}/ but no val/; rename it: mv '{folder / other}' '{folder / 'val'}'" in told


def test_flat_split_is_reported(folder):
    (folder / "val").rename(folder / "old")
    (folder / "val").mkdir()
    picture().save(folder / "val/1.JPEG")
    told = refused(data("imagefolder", root=str(folder)), False)
    assert f"{folder}/val contains no class folders" in told and "It contains 1 images without a label" in told


def test_single_class_is_rejected_before_the_start(folder):
    for name in ("ant", "cat"):
        shutil.rmtree(folder / "train" / name)
    with pytest.raises(UserError, match="train: contains one class, dog; a classifier needs at least two"):
        check_images(open_dataset(data("imagefolder", root=str(folder)), True), "error")


def test_evaluation_needs_no_training_images(folder):
    shutil.rmtree(folder / "train")
    val = open_dataset(data("imagefolder", root=str(folder)), False)
    assert val.classes == ["ant", "cat"] and len(val) == 3
    assert "contains no folder train/" in refused(data("imagefolder", root=str(folder)))


def test_class_map_sets_the_labels(folder):
    names = folder / "names.txt"
    names.write_text("dog\nbird\nant\ncat\n")
    train = open_dataset(data("imagefolder", root=str(folder), class_map=str(names), num_classes=4), True)
    assert train.classes == ["dog", "bird", "ant", "cat"] and train.labels.tolist() == [2, 3, 3, 3, 0, 0]
    names.write_text("dog\nant\n")
    assert f"data.class_map={names}: lacks cat" in refused(data("imagefolder", root=str(folder), class_map=str(names)))
    names.write_text("dog\nant\ncat\ndog\n")
    assert "names dog more than once" in refused(data("imagefolder", root=str(folder), class_map=str(names)))
    assert "not readable as a list of names" in refused(data("imagefolder", root=str(folder), class_map=f"{names}.gone"))


def test_wrong_counts_are_rejected(folder):
    root = {"root": str(folder)}
    assert refused(data("imagefolder", **root, num_classes=1000)).startswith(
        f"data.num_classes is 1000, but {folder}/train has 3 classes; data.num_classes=null"
    )
    assert refused(data("imagefolder", **root, train_size=7)) == (
        f"data.train_size is 7, but {folder}/train has 6 training images; data.train_size=null accepts what is found."
    )
    assert refused(data("imagefolder", **root, val_size=4), False) == (
        f"data.val_size is 4, but {folder}/val has 3 validation images; data.val_size=null accepts what is found."
    )
    assert refused(data("digits", num_classes=12)) == "data.num_classes is 12, but digits has 10 classes."
    assert "data.train_size is 5, but digits has 1442 training images" in refused(data("digits", train_size=5))


def test_sizes_are_checked_before_limits(folder):
    config = data("imagefolder", root=str(folder), train_size=6, train_limit=3)
    limited_set = open_dataset(config, True)
    assert [limited_set.describe(i).split("/")[-1] for i in range(3)] == ["x.webp", "10.JPEG", "a.PNG"]
    assert "data.train_size is 3, but" in refused(data("imagefolder", root=str(folder), train_size=3, train_limit=3))


def test_limits_keep_the_classes_even():
    periodic = ArrayDataset(np.zeros((1000, 1, 1, 3), np.uint8), np.arange(1000) % 10, [str(i) for i in range(10)], "periodic")
    few = limited(periodic, 100)
    assert np.bincount(few.labels).tolist() == [10] * 10
    assert limited(periodic, 1000) is periodic and limited(periodic, None) is periodic
    digits = open_dataset(data("digits", train_limit=140, val_limit=20), True)
    assert len(digits) == 140 and np.bincount(digits.labels).min() >= 13
    assert evenly(10, 4).tolist() == [0, 2, 5, 7] and evenly(3, 9).tolist() == [0, 1, 2]


def test_check_images_finds_the_broken_one(folder):
    config = data("imagefolder", root=str(folder))
    check_images(open_dataset(config, True), "error")
    broken = folder / "train/cat/10.JPEG"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(UserError, match=r"cat/10\.JPEG: not readable as an image") as caught:
        check_images(open_dataset(config, True), "error")
    assert caught.value.exit_code == 2
    check_images(open_dataset(config, True), "error", most=1)  # looks at the first only
    broken.unlink()
    dataset = open_dataset(config, True)
    (folder / "train/cat/1.bmp").unlink()
    with pytest.raises(UserError, match=r"cat/1.bmp: cannot be read \(No such file or directory\)"):
        check_images(dataset, "skip")  # a disk that fails is no bad image
