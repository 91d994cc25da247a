"""Class folders as input of a prediction: counted as for a training, with the same comparison of names."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from deit.inference.images import Images, find_images

CLASSES = ["b", "café", "d"]


def images_in(tree: Path, folders: Iterable[str]) -> Images:
    for name in folders:
        (tree / name).mkdir(parents=True)
        (tree / name / "0.png").write_bytes(b"")
    return find_images(str(tree), "task.input", CLASSES, 3)


def test_other_folders_are_reported(tmp_path: Path) -> None:
    found = images_in(tmp_path, ["b", "d", "y", "z"])
    assert found.labels is None and "not a class of the model: y, z" in str(found.remark)


def test_decomposed_names_are_the_same_classes(tmp_path: Path) -> None:
    found = images_in(tmp_path, ["b", unicodedata.normalize("NFD", "café"), "d"])
    assert found.labels is not None and found.labels.tolist() == [0, 1, 2]


def test_system_folders_are_ignored(tmp_path: Path) -> None:
    found = images_in(tmp_path, ["b", "d", "__MACOSX", "@eaDir", ".ipynb_checkpoints", "d/@eaDir"])
    assert found.names == ["b/0.png", "d/0.png"] and found.labels is not None and found.labels.tolist() == [0, 2]
