"""Image files that are not in train/ and val/: one folder of class folders, or a list with labels (``deit.data.label_file``).

They are split by ``deit.data.split`` unless the list says how. A training writes both splits into its run as ``split.jsonl``,
which every later task of the run reads instead, so that files that were added meanwhile change nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deit.config.class_names import normal
from deit.config.schema import DataConfig
from deit.data.class_files import folders_listed_once
from deit.data.folder import ImageFiles, LeftOut, class_folders, images_of_class, loose_images
from deit.data.label_file import COLUMNS, Labelled, read_labels
from deit.data.source import Dataset
from deit.data.split import KEYS, Rule
from deit.errors import UserError
from deit.files import write_text


class ListedImages(ImageFiles):
    """``names`` are paths from ``place``, or absolute."""

    def names_in_class(self) -> NDArray[np.bytes_]:
        """A file that is not in a folder of its class keeps its path, without `..` and made unique.

        Raises UserError if a class is no name of a folder.
        """
        wrong = next((name for name in self.classes if "/" in name or name in (".", "..")), None)
        if wrong is not None:
            raise UserError(f"data.labels: the class {wrong!r} cannot be the name of a folder, which task=pack needs.")
        taken: set[tuple[int, str]] = set()
        found: list[bytes] = []
        for encoded, label in zip(self.names.tolist(), self.labels.tolist(), strict=True):
            parts = [part for part in os.fsdecode(encoded).split("/") if part not in ("", "..")]
            if len(parts) > 1 and normal(parts[0]) == self.classes[label]:
                parts = parts[1:]
            name, number = "/".join(parts), 0
            while (label, name) in taken:
                number += 1
                name = "/".join([*parts[:-1], f"{number}_{parts[-1]}"])
            taken.add((label, name))
            found.append(os.fsencode(name))
        return np.array(found)

    def describe(self, index: int) -> str:
        name = os.fsdecode(self.names[index].item())
        return name if name.startswith("/") else f"{self.place}/{name}"


def is_listed(data: DataConfig) -> bool:
    """Whether the splits of ``data`` come from a list."""
    return data.split_file is not None or data.labels is not None


def open_class_folders(data: DataConfig, train: bool) -> ListedImages:
    """A split of a data.root that consists of class folders. Raises UserError if one of them contains no image."""
    assert data.root is not None
    root = Path(data.root)
    folders = class_folders(root)
    left_out = LeftOut(loose=loose_images(root))
    found = {directory: images_of_class(root, directory, left_out, empty_allowed=False) for directory in folders.values()}
    names = [os.fsencode(directory) + b"/" + file for directory, files in found.items() for file in files]
    labels = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
    chosen = Rule.of(data).validation(names, labels) != train
    listing = _Listing(root, list(folders), names, labels, f"data.root: {root}")
    return listing.split(chosen, data, left_out if train else LeftOut(), train)


def open_list(data: DataConfig, train: bool) -> ListedImages:
    """A split of data.split_file or data.labels.

    Raises UserError, naming the line, if a file does not exist or a class has no training image.
    """
    where, rows = _rows_of(data)
    root = Path(where.partition("=")[2]).parent if data.root is None else Path(data.root)
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}, where the paths in {where} begin.")
    own = rows[0].split is not None
    if own and data.split_file is None:
        _check_unsplit(data, f"{where} has its own column split")
    names = [os.fsencode(row.path) for row in rows]
    if own:
        of_split = np.array([row.split for row in rows])
        learnt, chosen = of_split == "train", of_split == ("train" if train else data.eval_split)
    elif data.eval_split == "test" and not train:
        raise UserError(f"data.eval_split=test: {where} has no column split, so no test images.")
    else:
        numbers = {label: number for number, label in enumerate(sorted({row.label for row in rows}))}
        validation = Rule.of(data).validation(names, np.array([numbers[row.label] for row in rows], np.int64))
        learnt, chosen = ~validation, validation != train
    classes = _classes(rows, learnt, chosen, where, train)
    label_of = {name: label for label, name in enumerate(classes)}
    labels = np.array([label_of.get(row.label, -1) for row in rows], np.int64)  # -1: a class of test images alone
    split = _Listing(root, classes, names, labels, where).split(chosen, data, LeftOut(), train)
    _check_files(root, [rows[row] for row in np.flatnonzero(chosen)], where, data.split_file is not None)
    return split


def write_split(file: Path, data: DataConfig) -> None:
    """Write the images of ``data`` as a list that ``open_list`` reads, with the split of each."""
    lines = [(row.path, row.label, row.split) for row in _rows_of(data)[1]] if is_listed(data) else []
    if not lines or lines[0][2] is None:
        lines = []
        with folders_listed_once():
            splits = {
                name: open_list(data, name == "train") if is_listed(data) else open_class_folders(data, name == "train")
                for name in ("train", "val")
            }
        for name, split in splits.items():
            for encoded, label in zip(split.names.tolist(), split.labels.tolist(), strict=True):
                lines.append((os.fsdecode(encoded), split.classes[label], name))
    write_text(file, "".join(json.dumps(dict(zip(COLUMNS, line, strict=True))) + "\n" for line in lines))


def count_learnt(split_file: Path, dataset: Dataset) -> int:
    """How many images of ``dataset`` are training images of the split that a run has recorded in ``split_file``."""
    learnt = {row.path for row in read_labels(split_file, "data.split_file") if row.split == "train"}
    return sum(dataset.name(index) in learnt for index in range(len(dataset)))


def lists_all(split_file: Path, dataset: Dataset, train: bool) -> bool:
    """Whether a split of ``split_file`` has the images of ``dataset`` and no others."""
    split = "train" if train else "val"
    wanted = {normal(row.path) for row in read_labels(split_file, "data.split_file") if row.split == split}
    return wanted == {normal(dataset.name(index)) for index in range(len(dataset))}


def _rows_of(data: DataConfig) -> tuple[str, list[Labelled]]:
    """data.split_file or data.labels as KEY=FILE, and its rows."""
    key, file = ("labels", data.labels) if data.split_file is None else ("split_file", data.split_file)
    assert file is not None
    return f"data.{key}={file}", read_labels(Path(file), f"data.{key}")


def refuse_split_keys(data: DataConfig, root: Path) -> None:
    """Raise UserError for keys that split a set, of a data.root that has two splits."""
    _check_unsplit(data, f"data.root={root} already has train/ and val/")


def _check_unsplit(data: DataConfig, why: str) -> None:
    given = [f"data.{key}={getattr(data, key)}" for key in KEYS if getattr(data, key) is not None]
    if given:
        raise UserError(f"{' '.join(given)}: {why}; leave {'it' if len(given) == 1 else 'them'} out.")


@dataclass(frozen=True)
class _Listing:
    """All images of a set; ``where`` names it in messages."""

    root: Path
    classes: list[str]
    names: list[bytes]
    labels: NDArray[np.int64]
    where: str

    def split(self, chosen: NDArray[np.bool_], data: DataConfig, left_out: LeftOut, train: bool) -> ListedImages:
        """The ``chosen`` images, bool [N]. Raises UserError if there is none."""
        rows = np.flatnonzero(chosen)
        if not len(rows):
            kind, count = "training" if train else {"val": "validation"}.get(data.eval_split, "testing"), len(self.names)
            raise UserError(f"{self.where}: contains {count:,} image{'s' * (count != 1)}, but none of them is for {kind}.")
        labels = self.labels[rows]
        counts = np.bincount(labels, minlength=len(self.classes))
        left_out.empty = [self.classes[label] for label in np.flatnonzero(counts == 0)]
        names = np.array([self.names[row] for row in rows])
        return ListedImages(self.root, self.classes, names, labels, data, left_out)


def _classes(rows: list[Labelled], learnt: NDArray[np.bool_], chosen: NDArray[np.bool_], where: str, train: bool) -> list[str]:
    """The sorted labels of the training images; without any, those of the validation images."""
    known = {row.label for row, is_one in zip(rows, learnt, strict=True) if is_one}
    if not known:
        return sorted({row.label for row, is_one in zip(rows, chosen, strict=True) if is_one})
    if not train:
        for number in np.flatnonzero(chosen):
            row = rows[number]
            if row.label not in known:
                raise UserError(
                    f"{where}, line {row.line}: {row.label} is a class without a training image; each class that "
                    "is evaluated needs one."
                )
    return sorted(known)


def _check_files(root: Path, rows: Iterable[Labelled], where: str, of_run: bool) -> None:
    """Raise UserError for the first file that does not exist; each folder is listed once."""
    there: dict[Path, set[str]] = {}
    for row in rows:
        path = root / row.path
        if path.parent not in there:
            try:
                there[path.parent] = {file.name for file in path.parent.iterdir()}
            except OSError:
                there[path.parent] = set()
        if path.name not in there[path.parent]:
            remedy = "; data.split_file=null reads other images" if of_run else ", which the paths are relative to"
            at = f"in data.root={root}{remedy}" if of_run else f"in {root}{remedy}"
            raise UserError(f"{where}, line {row.line}: there is no {row.path} {at}.")
