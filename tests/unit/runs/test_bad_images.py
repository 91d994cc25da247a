"""bad_images.jsonl."""

from __future__ import annotations

import json
from pathlib import Path

from deit.errors import BadImage
from deit.runs.bad_images import BadImages


def test_each_file_is_listed_once_with_several_writers(tmp_path: Path) -> None:
    path = tmp_path / "bad_images.jsonl"
    first, second = BadImages(path), BadImages(path)
    one, two, three = (BadImage(f"/{name}.jpg", "damaged", "cut \n short") for name in "abc")
    first.add("train", 3, [])
    assert not path.exists() and first.count(9) == 0
    first.add("train", 3, [one, two])
    second.add("train", 3, [two])
    second.add("val", 5, [three, one])
    with open(path, "ab") as file:
        file.write(b'{"file": "/torn')  # a writer was killed here
    BadImages(path).add("val", 7, [BadImage("/d.jpg", "empty", "the file is empty")])
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(e["file"], e["split"], e["step"]) for e in entries] == [
        ("/a.jpg", "train", 3),
        ("/b.jpg", "train", 3),
        ("/c.jpg", "val", 5),
        ("/d.jpg", "val", 7),
    ]
    assert [first.count(step) for step in (2, 3, 5, 7)] == [0, 2, 3, 4]
