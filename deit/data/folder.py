"""Images as files in class folders: ROOT/train/CLASS/IMAGE and ROOT/val/CLASS/IMAGE, at any depth below CLASS.

A ROOT whose folders are the classes themselves is split by ``deit.data.listed``.

The names are one array of bytes: a list of strings would take several times the memory, once for each card.

A class is named after its folder, in NFC: macOS writes names as NFD, and train/ and val/ may differ in that. Skipped files are
listed, so that nobody trains on half of their images unknowingly.
"""

from __future__ import annotations

import abc
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from deit.config.class_names import normal
from deit.config.schema import DataConfig
from deit.data.class_files import EXTENSIONS, entries_of, files_of_class, is_image, may_be_class
from deit.data.source import EncodedDataset
from deit.errors import UserError
from deit.installation import program
from deit.text import listed

OTHER_NAMES = {"train": ("training",), "val": ("validation", "valid", "test", "testing", "eval")}


@dataclass
class LeftOut:
    """Skipped files, as paths from the folder of the split, and classes without an image."""

    loose: list[str] = field(default_factory=list)  # images next to the class folders
    others: list[str] = field(default_factory=list)  # files without an image extension
    broken: list[str] = field(default_factory=list)  # broken links
    empty: list[str] = field(default_factory=list)  # classes

    def lines(self) -> list[str]:
        """One line for each kind, with three names and the number of the others."""
        kinds = (
            ("images outside class folders", self.loose),
            ("files without an image extension", self.others),
            ("broken links", self.broken),
            ("classes without an image", self.empty),
        )
        return [f"{what} ({len(names):,}): {listed(names, 3)}" for what, names in kinds if names]


class ImageFiles(EncodedDataset):
    """One split of images that are files of their own; ``describe`` is the path of an image."""

    def __init__(
        self, folder: Path, classes: list[str], names: np.ndarray, labels: np.ndarray, data: DataConfig, left_out: LeftOut
    ) -> None:
        """``names`` are encoded paths [N], ``labels`` is int64 [N]."""
        self.place = str(folder)
        self.classes = classes
        self.names = names
        self.labels = labels
        self.max_pixels, self.background = data.max_pixels, data.background
        self.left_out = left_out

    @abc.abstractmethod
    def names_in_class(self) -> np.ndarray:
        """The files as encoded paths from a folder of their class, [N]: as task=pack names them."""

    def content(self, index: int) -> bytes:
        from deit.data.decode import read_file

        return read_file(self.describe(index), self.max_pixels)


class ImageFolder(ImageFiles):
    """``names`` are paths from the class folder; labels are the positions of the class folders of train/, sorted by name.

    ``directories`` are the class folders by label, as the file system spells them.
    """

    directories: dict[int, str]

    def names_in_class(self) -> np.ndarray:
        return self.names

    def describe(self, index: int) -> str:
        return f"{self.place}/{self.directories[int(self.labels[index])]}/{os.fsdecode(self.names[index].item())}"


def open_folder(data: DataConfig, train: bool) -> ImageFolder:
    """List the images of a split. An evaluation alone needs no train/: the classes are then those of val/.

    Raises UserError if data.root has another layout; the message names what was found instead.
    """
    if data.root is None:
        raise UserError("data.root is null, but data.source=imagefolder reads class folders, or a folder with train/ and val/.")
    root = Path(data.root)
    if not root.is_dir():
        raise UserError(
            f"data.root: there is no folder {root}. Give one that contains a folder for each class, or train/ and val/."
        )
    evaluated = data.eval_split
    wanted = ("train", "val") if train else (evaluated,)
    missing = [split for split in wanted if not (root / split).is_dir()]
    if missing:
        raise UserError(_not_laid_out(root, missing[0]))
    known = "train" if (root / "train").is_dir() else evaluated
    folders = class_folders(root / known)
    classes = list(folders)
    if train:
        return _listed(root / "train", classes, folders, data, empty_allowed=False)
    present = class_folders(root / evaluated)
    unknown = sorted(set(present) - set(classes))
    if unknown:
        raise UserError(
            f"data.root: {root / evaluated / unknown[0]} is a class that {root / 'train'} does not have; "
            f"each class of {evaluated}/ must be one of train/."
        )
    return _listed(root / evaluated, classes, present, data, empty_allowed=True)


def is_unsplit(root: Path) -> bool:
    """Whether the folders in ``root`` are the classes themselves, instead of train/ and val/.

    A class may be called train: a split has folders in it. False if there is no such folder.
    """
    if not root.is_dir():
        return False
    folders = {entry.name.lower(): entry.name for entry in entries_of(root) if may_be_class(entry)}
    if {"train", "val"} <= set(folders):
        return False
    splits = [name for split, others in OTHER_NAMES.items() for name in (split, *others) if name in folders]
    if any(may_be_class(entry) for name in splits for entry in entries_of(root / folders[name])):
        return False
    return len(folders) > len(splits)


def _of_imagenet(folder: Path) -> str:
    """What to do if ``folder`` contains ImageNet's own downloads or what is in them; empty if it does not."""
    names = [entry.name for entry in entries_of(folder)]
    if any(re.fullmatch(r"ILSVRC2012_img_(train|val)\.tar|n[0-9]{8}\.tar", name) for name in names):
        found = f"{folder} contains tars of ImageNet"
    elif any(name.startswith("ILSVRC2012_val_") and is_image(name) for name in names):
        found = f"{folder} contains validation images of ImageNet without class folders; their labels are in its devkit"
    else:
        return ""
    return f"{found}. {program()} task=pack data=imagenet task.source=FOLDER_OF_THE_TARS task.output=NEW_FOLDER reads them."


def _not_laid_out(root: Path, split: str) -> str:
    """The message for a missing train/ or val/, with a command that helps."""
    if advice := _of_imagenet(root):
        return f"data.root: {advice}"
    needed = "it must contain a folder for each class, or train/ and val/ with such folders"
    for other in OTHER_NAMES.get(split, ()):
        found = next((entry.name for entry in entries_of(root) if entry.name.lower() == other and entry.is_dir()), None)
        if found is not None:
            return f"data.root: {root} contains {found}/ but no {split}/; rename it: mv '{root / found}' '{root / split}'."
    folders = [entry.name for entry in entries_of(root) if may_be_class(entry) and entry.name not in ("train", "val")]
    if len(folders) >= 2:
        return (
            f"data.root: {root} contains no folder {split}/, but {len(folders)} other folders ({listed(sorted(folders), 3)}); "
            f"{needed}. If all are classes, move them out of {root}, which is then split by data.val_fraction."
        )
    return f"data.root: {root} contains no folder {split}/; {needed}."


def class_folders(folder: Path) -> dict[str, str]:
    """The class folders by class name, sorted."""
    entries = entries_of(folder)
    found: dict[str, str] = {}
    for directory in sorted(entry.name for entry in entries if may_be_class(entry)):
        name = _spelled(directory)
        if name in found:
            raise UserError(
                f"data.root: {folder} contains two folders called {name}, which differ only in their Unicode form (NFC "
                "and NFD); move the images of one into the other."
            )
        found[name] = directory
    if not found:
        if advice := _of_imagenet(folder):
            raise UserError(f"data.root: {advice}")
        images = sum(is_image(entry.name) for entry in entries)
        flat = f" It contains {images:,} images without a label." if images else ""
        raise UserError(
            f"data.root: {folder} contains no class folders; the images of each class must be in their own folder.{flat}"
        )
    return dict(sorted(found.items()))


def _spelled(directory: str) -> str:
    """The class name of a folder: NFC, and valid text even if the file system's name is not."""
    return normal(directory.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def _listed(
    folder: Path, classes: Sequence[str], present: dict[str, str], data: DataConfig, *, empty_allowed: bool
) -> ImageFolder:
    label_of = {name: label for label, name in enumerate(classes)}
    left_out = LeftOut(loose=loose_images(folder))
    found = {
        name: images_of_class(folder, directory, left_out, empty_allowed=empty_allowed) for name, directory in present.items()
    }
    left_out.empty += [*(name for name, files in found.items() if not files), *sorted(set(classes) - set(present))]
    names = list(chain.from_iterable(found.values()))
    if not names:
        raise UserError(f"data.root: {folder} contains no images; files that end in {', '.join(EXTENSIONS)} are images.")
    labels = np.repeat([label_of[name] for name in found], [len(files) for files in found.values()])
    images = ImageFolder(folder, list(classes), np.array(names), labels, data, left_out)
    images.directories = {label_of[name]: directory for name, directory in present.items()}
    return images


def loose_images(folder: Path) -> list[str]:
    """The sorted names of the images next to class folders."""
    return sorted(entry.name for entry in entries_of(folder) if is_image(entry.name) and not entry.is_dir())


def images_of_class(folder: Path, directory: str, left_out: LeftOut, *, empty_allowed: bool) -> list[bytes]:
    """The images in a class folder of ``folder``, as encoded paths from it. What is skipped is added to ``left_out``."""
    found = files_of_class(folder / directory)
    files = found.images
    left_out.others += [f"{directory}/{path}" for path in found.others]
    left_out.broken += [f"{directory}/{path}" for path in found.broken]
    if not files and not empty_allowed:
        raise UserError(
            f"data.root: {folder / directory} contains no images; files that end in {', '.join(EXTENSIONS)} are images."
        )
    return files
