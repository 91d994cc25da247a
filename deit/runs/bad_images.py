"""``bad_images.jsonl`` of a run directory: the unusable images, each file once.

    {"file": "/data/train/cat/7.jpg", "split": "train", "kind": "damaged", "reason": "image file is truncated", "step": 12}

``step`` is the optimizer step that found it first. All ranks write to the file, one at a time; each reads what the others have
written before it adds a line.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from deit.errors import BadImage
from deit.machine import locks


class BadImages:
    """The list of one run."""

    def __init__(self, path: Path) -> None:
        """``path`` is created with the first bad image."""
        self._path = path
        self._offset = 0
        self._steps: dict[str, int] = {}  # by file

    def add(self, split: str, step: int, bad: Sequence[BadImage]) -> None:
        """Record what the optimizer step ``step`` (or the evaluation after it) found in ``split``, train or val."""
        if all(image.file in self._steps for image in bad):
            return
        with open(self._path, "a+b") as file:
            locks.hold(file)
            self._read(file)
            file.truncate(self._offset)  # the partial line of a killed writer
            for image in bad:
                if image.file not in self._steps:
                    entry = {"file": image.file, "split": split, "kind": image.kind, "reason": image.reason, "step": step}
                    file.write(json.dumps(entry).encode() + b"\n")
                    file.flush()
                    self._read(file)

    def count(self, step: int) -> int:
        """How many were found up to ``step``, so that a resumed run counts like an uninterrupted one."""
        if self._path.exists():
            with open(self._path, "rb") as file:
                self._read(file)
        return sum(found <= step for found in self._steps.values())

    def _read(self, file: BinaryIO) -> None:
        file.seek(self._offset)
        for line in file.read().splitlines(keepends=True):
            if line.endswith(b"\n"):
                self._offset += len(line)
                entry: dict[str, Any] = json.loads(line)
                self._steps[entry["file"]] = entry["step"]


def listed(path: Path) -> int:
    """The number of images in the file; 0 if it does not exist."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
