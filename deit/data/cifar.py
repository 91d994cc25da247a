"""CIFAR-10 and CIFAR-100 from their official binary files.

A record is the label (CIFAR-100: the coarse, then the fine label) and 3072 bytes: the red, green and blue planes of a 32 x 32
image (https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deit.config.schema import DataConfig
from deit.data.source import ArrayDataset
from deit.errors import UserError

SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True)
class Archive:
    """The files of one of the two data sets; the last of ``label_bytes`` is the label used."""

    folder: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    names: str
    num_classes: int
    label_bytes: int


ARCHIVES = {
    "cifar10": Archive(
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        ("test_batch.bin",),
        "batches.meta.txt",
        num_classes=10,
        label_bytes=1,
    ),
    "cifar100": Archive(
        "cifar-100-binary", ("train.bin",), ("test.bin",), "fine_label_names.txt", num_classes=100, label_bytes=2
    ),
}


def open_cifar(data: DataConfig, train: bool) -> ArrayDataset:
    """Read a split of ``data.source`` (cifar10 or cifar100) from ``data.root``, or from the archive's folder in it.

    Raises UserError if a file is missing or does not consist of whole records.
    """
    archive = ARCHIVES[data.source]
    if data.root is None:
        raise UserError(f"data.root is null, but data.source={data.source} reads the files of {archive.folder}.")
    root = Path(data.root)
    if (root / archive.folder).is_dir():
        root = root / archive.folder
    files = [root / name for name in (archive.train if train else archive.val)]
    for file in files:
        if not file.is_file():
            raise UserError(
                f"data.root: there is no file {file}; data.source={data.source} needs {', '.join(archive.train + archive.val)} "
                f"in data.root or in {archive.folder} below it."
            )
    records = np.concatenate([_records(file, archive) for file in files])
    planes = records[:, archive.label_bytes :].reshape(-1, 3, SIDE, SIDE)
    labels = records[:, archive.label_bytes - 1]
    return ArrayDataset(planes.transpose(0, 2, 3, 1), labels, _class_names(root / archive.names, archive), str(root))


def _records(file: Path, archive: Archive) -> np.ndarray:
    values = np.fromfile(file, np.uint8)
    length = archive.label_bytes + PIXELS
    if len(values) == 0 or len(values) % length:
        raise UserError(
            f"data.root: {file} has {len(values)} bytes, which is not a multiple of the record size, {length} bytes."
        )
    records = values.reshape(-1, length)
    largest = int(records[:, archive.label_bytes - 1].max())
    if largest >= archive.num_classes:
        raise UserError(f"data.root: {file} has the label {largest}, but labels are below {archive.num_classes}.")
    return records


def _class_names(file: Path, archive: Archive) -> list[str]:
    # The names are only for people, so training works without them.
    names = file.read_text(encoding="utf-8").split() if file.is_file() else []
    return names if len(names) == archive.num_classes else [str(label) for label in range(archive.num_classes)]
