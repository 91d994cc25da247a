"""Files in a tar, and in a tar within a tar, found by their headers."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from deit.errors import UserError
from deit.packing.tar_members import members


def tar(files: dict[str, bytes], link: bool = False) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            made.addfile(about, io.BytesIO(content))
        if link:
            about = tarfile.TarInfo("link")
            about.type = tarfile.SYMTYPE
            made.addfile(about)
    return stream.getvalue()


def test_content_is_at_its_offset_in_the_outer_file(tmp_path: Path) -> None:
    path = tmp_path / "outer.tar"
    path.write_bytes(tar({"a.tar": tar({"x.jpg": b"xx", "y.jpg": b"yyy"}), "z": b"z"}))
    outer = list(members(path))
    assert [one.name for one in outer] == ["a.tar", "z"]
    content = path.read_bytes()
    inner = {one.name: content[one.offset : one.offset + one.size] for one in members(path, outer[0])}
    assert inner == {"x.jpg": b"xx", "y.jpg": b"yyy"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tar({"../x": b"x"}), "not the plain name of a file"),
        (tar({}, link=True), "which is not a file"),
        (tar({"x": b"x" * 2000})[:1000], "ends within x; download it again"),
        (b"nothing" * 100, "is damaged or ends too early"),
    ],
)
def test_unsafe_and_damaged_tars_are_rejected(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        list(members(path))
