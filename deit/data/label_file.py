"""A list of labelled files: CSV, TSV or JSONL with the columns path, label and, optionally, split.

A path is relative to data.root, or without one to the folder of the list. Other columns are ignored. A run writes the images of
its two splits in this form, too (``deit.data.listed``).
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deit.config.class_names import normal
from deit.errors import UserError

COLUMNS = ("path", "label", "split")
SPLITS = ("train", "val", "test")
SUFFIXES = (".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class Labelled:
    """One file of a list. ``split`` is one of SPLITS, None if the list does not say; ``line`` counts from 1."""

    path: str
    label: str
    split: str | None
    line: int


def read_labels(file: Path, key: str) -> list[Labelled]:
    """The rows of a list, in its order; either all of them name a split, or none does.

    ``key`` names the file in messages. Raises UserError with the line if a row is incomplete, or names a file again.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise UserError(f"{key}={file}: the name ends in {file.suffix or 'nothing'!r}; allowed: {', '.join(SUFFIXES)}.")
    rows = list(_rows(file, key))
    if not rows:
        raise UserError(f"{key}={file}: names no images.")
    lines: dict[str, int] = {}
    for row in rows:
        if (before := lines.setdefault(row.path, row.line)) != row.line:
            raise UserError(f"{key}={file}, line {row.line}: {row.path} is already on line {before}; name each file once.")
    first = next((row for row in rows if row.split is not None), None)
    without = next((row for row in rows if row.split is None), None)
    if first is not None and without is not None:
        raise UserError(
            f"{key}={file}, line {without.line}: no split, but line {first.line} has {first.split}; give one of "
            f"{', '.join(SPLITS)} on every line, or on none."
        )
    return rows


def _rows(file: Path, key: str) -> Iterator[Labelled]:
    read = _jsonl if file.suffix.lower() == ".jsonl" else _table
    try:
        with open(file, encoding="utf-8-sig", newline="") as content:
            for line, values in read(content, file, key):
                yield _row(values, line, f"{key}={file}, line {line}")
    except OSError as error:
        raise UserError(f"{key}={file}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise UserError(f"{key}={file}: is not UTF-8; save it as UTF-8 text.") from None


def _row(values: dict[str, Any], line: int, where: str) -> Labelled:
    path, label, split = (_text(values.get(column), column, where) for column in COLUMNS)
    for column, value in (("path", path), ("label", label)):
        if not value:
            raise UserError(f"{where}: no {column}; every line needs a path and a label.")
    if split and split not in SPLITS:
        raise UserError(f"{where}: split is {split!r}; allowed: {', '.join(SPLITS)}.")
    return Labelled(os.path.normpath(path), normal(label), split or None, line)


def _text(value: Any, column: str, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise UserError(f"{where}: {column} is {value!r}; allowed: text.")
    return str(value)


def _table(content: Any, file: Path, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    header = content.readline()
    # A spreadsheet whose language writes 1,5 for a number separates columns by semicolons.
    mark = "\t" if file.suffix.lower() == ".tsv" else ";" if header.count(";") > header.count(",") else ","
    names = [name.strip().lower() for name in next(csv.reader([header], delimiter=mark), [])]
    if not {"path", "label"} <= set(names):
        raise UserError(
            f"{key}={file}, line 1: the columns are {', '.join(names) or 'missing'}; needed: path and label, allowed: split."
        )
    reader = csv.reader(content, delimiter=mark, strict=True)
    try:
        for cells in reader:
            line = reader.line_num + 1
            if len(cells) > len(names):
                raise UserError(
                    f"{key}={file}, line {line}: {len(cells)} cells, but line 1 names {len(names)} columns; "
                    f"a path or label with {mark!r} in it needs quotes."
                )
            if any(cell.strip() for cell in cells):
                yield line, dict(zip(names, (cell.strip() for cell in cells), strict=False))
    except csv.Error as error:
        raise UserError(f"{key}={file}, line {reader.line_num + 1}: {error}.") from None


def _jsonl(content: Any, file: Path, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(content, 1):
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except ValueError as error:
            raise UserError(f"{key}={file}, line {line}: is not JSON ({error}).") from None
        if not isinstance(values, dict):
            raise UserError(f"{key}={file}, line {line}: is {text.strip()[:40]}; needed: an object with path and label.")
        yield line, values
