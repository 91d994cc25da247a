"""Listing class folders: which files are images, in which order, and how often a folder is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from deit.data import class_files
from deit.data.class_files import files_of_class, folders_listed_once
from deit.data.datasets import record_split
from deit.data.label_file import read_labels


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_files_are_listed_by_folder_and_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "z/c.jpg", "deep/er/d.webp", "@eaDir/thumb.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "again").symlink_to(tmp_path)  # would never end
    found = files_of_class(tmp_path)
    assert found.images == [b"a.PNG", b"b.jpg", b"deep/er/d.webp", b"z/c.jpg"]
    assert sorted(found.others) == ["again", "notes.txt"] and found.broken == ["gone.jpg"]
    touch(tmp_path, "empty/notes.txt")
    assert files_of_class(tmp_path / "empty").images == []


def test_a_folder_is_listed_once_within_the_block_only(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    with folders_listed_once():
        assert files_of_class(tmp_path).images == [b"a.jpg"]
        touch(tmp_path, "b.jpg")
        with folders_listed_once():
            assert files_of_class(tmp_path / ".." / tmp_path.name).images == [b"a.jpg"]
        assert files_of_class(tmp_path).images == [b"a.jpg"]
    assert files_of_class(tmp_path).images == [b"a.jpg", b"b.jpg"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("ant", "bee"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the folders that were listed."""
    found: list[str] = []
    original = class_files._list_class
    monkeypatch.setattr(class_files, "_list_class", lambda folder: (found.append(folder.name), original(folder))[1])
    return found


def test_the_checks_before_a_start_list_each_class_once(photos: Path, listed: list[str], command: Callable) -> None:
    recipe = ("experiment=quickstart", "data=imagefolder", f"data.root={photos}", "model.img_size=32", "dry_run=true")
    outcome = command(*recipe, "optim.base_lr=${auto:}", "data.batch_size=4")
    assert outcome.code == 0, outcome.err
    assert sorted(listed) == ["ant", "bee"]


def test_a_recorded_split_lists_each_class_once(photos: Path, listed: list[str], tmp_path: Path) -> None:
    from composition import composed

    record_split(tmp_path / "split.jsonl", composed("data=imagefolder", f"data.root={photos}").data)
    assert sorted(listed) == ["ant", "bee"]
    rows = read_labels(tmp_path / "split.jsonl", "data.split_file")
    assert len(rows) == 20 and sum(row.split == "val" for row in rows) == 4
