"""The images of a prediction: one image, a folder, a list, or a tree of class folders, which gives labels too; or such a tree
packed by task=pack.

Only names are read here; decoding shows whether a file is an image.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deit.config import class_names
from deit.config.addresses import expanded
from deit.data.class_files import EXTENSIONS, entries_of, is_image, may_be_class
from deit.data.packed import INDEX, Packed, packed_split
from deit.errors import UserError
from deit.text import listed

LIST = ".txt"


@dataclass(frozen=True)
class Images:
    """``files`` are paths that can be opened, ``names`` the same as shown in results, ``labels`` int64 [N], None without any.

    ``folders`` are the sorted names of the class folders, if labels came from them; ``remark`` says why a tree of folders gave
    no labels. ``packed`` images are read by number, and their ``files`` describe their place.
    """

    files: list[str]
    names: list[str]
    labels: np.ndarray | None = None
    folders: list[str] | None = None
    remark: str | None = None
    packed: Packed | None = None

    def __len__(self) -> int:
        return len(self.files)


def find_images(text: str, key: str, classes: Sequence[str] | None, num_classes: int) -> Images:
    """The images of ``text``, the value of ``key``, in the order of their names.

    The folders of a tree are classes if their names are all among ``classes``, those of the model; if these are unknown (None),
    if there are exactly ``num_classes`` folders, which are then numbered by name. Raises UserError if there is no such file or
    folder, or no image in it.
    """
    path = Path(text)
    if (path / INDEX).is_file() and (packed := packed_split(path, sys.maxsize, "none")) is not None:
        found = _in_shards(packed, classes, num_classes)
    elif path.is_dir():
        found = _in_folder(path, key, classes, num_classes)
    elif path.is_file():
        found = _in_list(path, key) if path.suffix == LIST else Images([str(path)], [spelled(str(path))])
    else:
        raise UserError(
            f"{key}={text}: no such file or folder. Allowed: an image, a folder of images, a {LIST} list of images, "
            "a folder of class folders, or one of the two folders of task=pack."
        )
    if not len(found):
        raise UserError(f"{key}={text}: there is no image in it; files that end in {', '.join(EXTENSIONS)} are images.")
    return found


def _in_list(path: Path, key: str) -> Images:
    """One path per line, relative to the folder of the list; empty lines and those that begin with `#` are skipped."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{key}={path}: not readable as a list ({error}).") from None
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return Images([str(path.parent / expanded(name)) for name in names], names)


def spelled(text: str) -> str:
    """A name for files and terminals: invalid UTF-8 is escaped, ``\\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode()


def _in_folder(folder: Path, key: str, classes: Sequence[str] | None, num_classes: int) -> Images:
    top = entries_of(folder, key)
    subfolders = sorted(entry.name for entry in top if may_be_class(entry))
    if {"train", "val"} <= set(subfolders):
        raise UserError(f"{key}={folder}: contains train/ and val/; give one of them, such as {key}={folder / 'val'}.")
    own = _images(top)
    below = {name: _images_below(folder / name, key) for name in subfolders}
    used = [name for name in subfolders if below[name]]
    names = own + [f"{name}/{image}" for name in used for image in below[name]]
    files, names = [str(folder / name) for name in names], [spelled(name) for name in names]
    if own or not used:
        beside = f"{len(own)} image{'' if len(own) == 1 else 's'} ({own[0]}) next to {_listing(used)}" if own and used else None
        return Images(files, names, remark=beside and spelled(f"no labels: {folder} contains {beside}"))
    label_of = _labels(used, classes, num_classes)
    if label_of is None:
        return Images(files, names, remark=_unlabelled(folder, used, classes, num_classes))
    labels = np.repeat([label_of[name] for name in used], [len(below[name]) for name in used])
    return Images(files, names, labels.astype(np.int64), used)


def _in_shards(packed: Packed, classes: Sequence[str] | None, num_classes: int) -> Images:
    rows = range(len(packed))
    files, names = [packed.describe(row) for row in rows], [spelled(packed.name(row)) for row in rows]
    used = [packed.classes[label] for label in np.unique(packed.labels)]
    label_of = _labels(used, classes, num_classes)
    if label_of is None:
        remark = _unlabelled(packed.folder, used, classes, num_classes)
        return Images(files, names, remark=remark, packed=packed)
    labels = [label_of[packed.classes[label]] for label in packed.labels]
    return Images(files, names, np.array(labels, np.int64), used, packed=packed)


def _unlabelled(folder: Path, used: list[str], classes: Sequence[str] | None, num_classes: int) -> str:
    start = f"no labels: {folder} contains {_listing(used)}"
    if classes is None:
        return spelled(f"{start}, but {num_classes} class folders would be needed")
    names = {class_names.normal(name) for name in classes}
    foreign = [name for name in used if class_names.normal(name) not in names]
    return spelled(f"{start}; not a class of the model: {listed(foreign)}")


def _labels(folders: list[str], classes: Sequence[str] | None, num_classes: int) -> dict[str, int] | None:
    if classes is None:
        return {name: label for label, name in enumerate(folders)} if len(folders) == num_classes else None
    known = {class_names.normal(name): label for label, name in enumerate(classes)}
    labels = {name: known.get(class_names.normal(name)) for name in folders}
    return None if None in labels.values() else {name: label for name, label in labels.items() if label is not None}


def _listing(folders: list[str]) -> str:
    shown = ", ".join(folders[:3])
    return f"{len(folders)} folder{'' if len(folders) == 1 else 's'} ({shown}{', ...' if len(folders) > 3 else ''})"


def _images_below(folder: Path, key: str) -> list[str]:
    """Relative names of the images at any depth, grouped by folder and in the order of an evaluation."""
    found = _images(entries_of(folder, key))
    for entry in sorted(entries_of(folder, key), key=lambda entry: os.fsencode(entry.name)):
        # A link to a parent folder would never end.
        if may_be_class(entry) and not entry.is_symlink():
            found += [f"{entry.name}/{name}" for name in _images_below(folder / entry.name, key)]
    return found


def _images(entries: list[os.DirEntry[str]]) -> list[str]:
    return sorted((entry.name for entry in entries if is_image(entry.name) and entry.is_file()), key=os.fsencode)
