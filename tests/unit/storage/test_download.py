"""Objects that cannot become files, and the manifest of a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from deit.errors import UserError
from deit.storage import download
from deit.storage.download import Entry, Manifest
from deit.storage.store import Object


def one(name: str, size: int = 1, tag: str = "") -> Object:
    return Object(name, f"s3://b/{name}", size, tag, None)


def test_names_that_cannot_be_files_are_rejected() -> None:
    for name in ("../x", "a//b", "a/../../b", "x" * 300):
        with pytest.raises(UserError, match="a name that is not allowed for files"):
            download.check_names([one(name)], "data.root")
    with pytest.raises(UserError, match=r"'s3://b/a/b' exists, but also an object with the name of its folder"):
        download.check_names([one("a"), one("a/b")], "data.root")


def test_manifest_knows_unchanged_files_after_a_torn_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"12345")
    manifest = Manifest(tmp_path / "files.jsonl")
    manifest.append([Entry("a.jpg", 5, "v1", file.stat().st_mtime_ns), Entry("gone.jpg", 1, "v1", 0)])
    with open(tmp_path / "files.jsonl", "a") as lines:
        lines.write('{"name": "b.jp')  # a kill
    again = Manifest(tmp_path / "files.jsonl")
    assert set(again.entries) == {"a.jpg", "gone.jpg"} and again.has(one("a.jpg", 5, "v1"), file)
    assert not again.has(one("a.jpg", 5, "v2"), file) and not again.has(one("a.jpg", 6, "v1"), file)
    assert not again.has(one("gone.jpg", 1, "v1"), tmp_path / "gone.jpg") and not again.has(one("b.jpg"), file)
    again.replace(["a.jpg"])
    assert set(Manifest(tmp_path / "files.jsonl").entries) == {"a.jpg"}
    file.write_bytes(b"1234")  # damaged here
    assert not again.has(one("a.jpg", 5, "v1"), file)


def test_partial_files_of_other_versions_have_other_names() -> None:
    names = {download.part_name(found) for found in (one("a", tag="1"), one("a", tag="2"), one("b", tag="1"))}
    assert len(names) == 3 and download.part_name(one("a", tag="1")) in names
