"""Prediction files: JSON lines or CSV, by suffix. The file appears only when it is complete."""

from __future__ import annotations

import abc
import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from deit.files import whole_file
from deit.inference.likeliest import likeliest, probabilities
from deit.runs.directory import RunDirectory
from deit.runs.task_output import new_file

SUFFIXES = (".jsonl", ".csv")


def check_output(text: str) -> Path:
    """The output file, absolute. Raises UserError if it has another suffix, exists, or its folder does not exist."""
    return new_file(text, SUFFIXES).resolve()


def output_of(output: str | None, run: RunDirectory) -> Path:
    """The file of predictions: ``task.output``, by default in the run directory."""
    return Path(output) if output is not None else run.path / "predictions.jsonl"


class Writer(abc.ABC):
    """Writes a line for each image with its ``topk`` most likely classes into an open file."""

    def __init__(self, file: IO[str], classes: Sequence[str], topk: int, labelled: bool) -> None:
        """``labelled``: whether the true classes are known."""
        self.file, self.classes, self.topk = file, classes, min(topk, len(classes))

    def top(self, logits: np.ndarray) -> list[list[tuple[int, float]]]:
        """The most likely classes of each row of logits [N, K] with their probabilities."""
        shares = probabilities(logits)
        best = likeliest(shares, self.topk)
        return [[(int(label), float(shares[row, label])) for label in labels] for row, labels in enumerate(best)]

    @abc.abstractmethod
    def line(self, name: str, label: int | None, top: list[tuple[int, float]]) -> None:
        """A line for an image and its most likely classes."""

    @abc.abstractmethod
    def unreadable(self, name: str, label: int | None, reason: str) -> None:
        """A line for an image that could not be read."""


class JsonLines(Writer):
    """``{"image": ..., "label": 3, "class": "3", "top": [{"label": 3, "class": "3", "probability": 0.98}, ...]}``"""

    def line(self, name: str, label: int | None, top: list[tuple[int, float]]) -> None:
        found = [{"label": i, "class": self.classes[i], "probability": _number(share)} for i, share in top]
        self._write(self._of(name, label) | {"top": found})

    def unreadable(self, name: str, label: int | None, reason: str) -> None:
        self._write(self._of(name, label) | {"error": reason})

    def _of(self, name: str, label: int | None) -> dict[str, Any]:
        return {"image": name} | ({} if label is None else {"label": label, "class": self.classes[label]})

    def _write(self, record: dict[str, Any]) -> None:
        self.file.write(json.dumps(record, ensure_ascii=False) + "\n")


class Csv(Writer):
    """Columns image, class (where labels are known), class_1, probability_1, class_2, ..., error."""

    def __init__(self, file: IO[str], classes: Sequence[str], topk: int, labelled: bool) -> None:
        super().__init__(file, classes, topk, labelled)
        self._rows = csv.writer(file, lineterminator="\n")
        top = [name for place in range(1, self.topk + 1) for name in (f"class_{place}", f"probability_{place}")]
        self._rows.writerow(["image", *(["class"] if labelled else []), *top, "error"])

    def line(self, name: str, label: int | None, top: list[tuple[int, float]]) -> None:
        self._rows.writerow([*self._of(name, label), *(value for i, p in top for value in (self.classes[i], f"{p:.6f}")), ""])

    def unreadable(self, name: str, label: int | None, reason: str) -> None:
        self._rows.writerow([*self._of(name, label), *[""] * (2 * self.topk), reason])

    def _of(self, name: str, label: int | None) -> list[str]:
        return [name] if label is None else [name, self.classes[label]]


@contextmanager
def open_writer(path: Path, classes: Sequence[str], topk: int, labelled: bool) -> Iterator[Writer]:
    """The writer of a file that appears when the block ends without an error."""
    with whole_file(path, "w") as file:
        yield {".jsonl": JsonLines, ".csv": Csv}[path.suffix](file, classes, topk, labelled)


def _number(share: float) -> float | None:
    """JSON has no nan."""
    return round(share, 6) if np.isfinite(share) else None
