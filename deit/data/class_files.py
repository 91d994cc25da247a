"""The image files below the folder of a class.

Only folders are read, with one pass of scandir and without opening files, so that ImageNet's 1.3 million names take seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from deit.errors import UserError

# Those of torchvision's ImageFolder, their other spellings, and GIF (first frame).
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
# Created by archivers, sync tools and file systems; never classes.
NO_CLASSES = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")


def is_image(name: str) -> bool:
    """Whether a file of this name is read as an image."""
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def may_be_class(entry: os.DirEntry[str]) -> bool:
    """Whether a folder counts as one of a data set: not hidden, and not made by an operating system or a NAS."""
    return entry.is_dir() and not entry.name.startswith(".") and entry.name not in NO_CLASSES


@dataclass(frozen=True)
class ClassFiles:
    """The files below a class folder, as paths from it.

    The images are sorted by folder. Their encoded names are joined by zeros: a list takes several times the memory.
    """

    joined: bytes
    others: list[str]  # files without an image extension
    broken: list[str]  # broken links

    @property
    def images(self) -> list[bytes]:
        return self.joined.split(b"\0") if self.joined else []


_listed: ContextVar[dict[Path, ClassFiles] | None] = ContextVar("_listed", default=None)


@contextmanager
def folders_listed_once() -> Iterator[None]:
    """Within this block a class folder is listed once, however often its data set is opened.

    The checks before a start open it several times, which takes minutes for a large set on a network drive.
    """
    before = _listed.get()
    token = _listed.set({} if before is None else before)
    try:
        yield
    finally:
        _listed.reset(token)


def files_of_class(folder: Path) -> ClassFiles:
    """List a class folder. Raises UserError if it cannot be read."""
    listed = _listed.get()
    if listed is None:
        return _list_class(folder)
    key = folder.resolve()
    if key not in listed:
        listed[key] = _list_class(folder)
    return listed[key]


def _list_class(folder: Path) -> ClassFiles:
    """Files at any depth: those of a folder, sorted, then those of its subfolders."""
    images: list[bytes] = []
    others: list[str] = []
    broken: list[str] = []

    def look(below: str) -> None:
        here: list[bytes] = []
        subfolders: list[str] = []
        for entry in entries_of(folder / below):
            path = f"{below}{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):  # a link to a parent folder would never end
                subfolders += [path] if entry.name not in NO_CLASSES else []
            elif not is_image(entry.name):
                others.append(path)
            elif entry.is_file():
                here.append(os.fsencode(path))
            elif entry.is_symlink():
                broken.append(path)
        images.extend(sorted(here))
        for path in sorted(subfolders, key=os.fsencode):
            look(f"{path}/")

    look("")
    return ClassFiles(b"\0".join(images), others, broken)


def entries_of(folder: Path, key: str = "data.root") -> list[os.DirEntry[str]]:
    """What is in a folder. Raises UserError, naming ``key``, if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"{key}: {folder} cannot be listed ({error.strerror}).") from error
