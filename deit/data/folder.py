"""Images as files in class folders: ROOT/train/CLASS/IMAGE and ROOT/val/CLASS/IMAGE.

Only folders are read here, with one pass of scandir and no look at a file, so that ImageNet's 1.3 million
names take seconds. The names are kept as one array of bytes: a list of strings would take several times
the memory, once for each card.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from deit.config.schema import DataConfig
from deit.data.source import EncodedDataset
from deit.errors import UserError

# Those of torchvision's ImageFolder, and GIF, of which the first frame is taken.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")


class ImageFolder(EncodedDataset):
    """One of the two splits; labels are the positions of the class folders of train/, sorted by name."""

    def __init__(self, folder: Path, classes: list[str], names: np.ndarray, labels: np.ndarray, max_pixels: int) -> None:
        """``names`` are the files of all classes as encoded names, [N]; ``labels`` is int64 [N]."""
        self.folder = folder
        self.place = str(folder)
        self.classes = classes
        self.names = names
        self.labels = labels
        self.max_pixels = max_pixels

    def content(self, index: int) -> bytes:
        from deit.data.decode import check_file_size

        path = self.describe(index)
        try:
            with open(path, "rb") as file:
                check_file_size(os.fstat(file.fileno()).st_size, path, self.max_pixels)
                return file.read()
        except OSError as error:
            # A fault of the disk or the network, not of the image: nothing may be left out for that.
            raise UserError(f"{path}: cannot be read ({error.strerror}).", exit_code=1) from error

    def describe(self, index: int) -> str:
        return str(self.folder / self.classes[self.labels[index]] / os.fsdecode(self.names[index].item()))

    def others(self) -> list[str]:
        """The files in the class folders that are no images by their names, hidden ones left out."""
        found = []
        for name in self.classes:
            folder = self.folder / name
            entries = _scan(folder) if folder.is_dir() else []
            found += [
                str(folder / entry.name)
                for entry in entries
                if not entry.name.startswith(".") and not (entry.name.lower().endswith(EXTENSIONS) and entry.is_file())
            ]
        return sorted(found)


def open_folder(data: DataConfig, train: bool) -> ImageFolder:
    """List the images of a split. Raises UserError where data.root is not laid out as said above."""
    if data.root is None:
        raise UserError("data.root is null, but data.source=imagefolder reads a folder that holds train/ and val/.")
    root = Path(data.root)
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}. Give the folder that holds train/ and val/.")
    for split in ("train", "val"):
        if not (root / split).is_dir():
            raise UserError(
                f"data.root: {root} holds no folder {split}/; it must hold train/ and val/, each with class folders."
            )
    classes = _class_folders(root / "train")
    if train:
        return _listed(root / "train", classes, classes, data.max_pixels)
    present = _class_folders(root / "val")
    unknown = sorted(set(present) - set(classes))
    if unknown:
        raise UserError(
            f"data.root: {root / 'val' / unknown[0]} is a class that {root / 'train'} does not have; "
            "each class of val/ must be one of train/."
        )
    return _listed(root / "val", classes, present, data.max_pixels)


def _class_folders(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in _scan(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise UserError(
            f"data.root: {folder} holds no class folders; the images of each class must stand in a folder of its own."
        )
    return names


def _listed(folder: Path, classes: list[str], present: list[str], max_pixels: int) -> ImageFolder:
    label_of = {name: label for label, name in enumerate(classes)}
    names: list[bytes] = []
    labels: list[np.ndarray] = []
    for name in present:
        files = sorted(
            os.fsencode(entry.name)
            for entry in _scan(folder / name)
            if entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith(".") and entry.is_file()
        )
        if not files:
            raise UserError(
                f"data.root: {folder / name} holds no images; files that end in {', '.join(EXTENSIONS)} are images."
            )
        names += files
        labels.append(np.full(len(files), label_of[name], np.int64))
    return ImageFolder(folder, classes, np.array(names), np.concatenate(labels), max_pixels)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"data.root: {folder} cannot be listed ({error.strerror}).") from error
