"""Image files packed by ``task=pack`` into a few large ones, with random access to each image.

    ROOT/dataset.json          format, classes, and for each split its shards with their checksums
    ROOT/train/index.npy       for each image its shard, offset, length, label and file name
    ROOT/train/00000.tar ...   the shards; 00000.mindrecord with its 00000.mindrecord.db
    ROOT/val/                  the same

Classes, labels and the order of the images are those of the class folders, and an image is the bytes of its file, in either
format. So both formats are read by one ``pread`` of an open file per image, from any thread without a lock. MindSpore's own
readers cannot do that: FileReader and MindDataset return the images in their order, and MindPage takes milliseconds for one
image, because it searches the SQLite file next to the shard each time. They do read our shards, as tar programs and WebDataset
read the tars.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import resource
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deit.config.schema import DataConfig
from deit.data.source import EncodedDataset
from deit.errors import UserError

DESCRIPTION, INDEX = "dataset.json", "index.npy"
VERSION = 1
FORMATS = ("tar", "mindrecord")
SPLITS = ("train", "val")
BLOCK = 1 << 20  # bytes read at a time for a checksum
SPARE_FILES = 256  # open files of a process besides its shards
_SHARD = re.compile(r"[0-9]{5,}\.(tar|mindrecord)")


def index_type(longest_name: int) -> np.dtype[Any]:
    """A row of the index: ``offset`` and ``length`` are bytes in that shard, ``name`` is the file's own."""
    return np.dtype([("shard", "<i4"), ("offset", "<i8"), ("length", "<i8"), ("label", "<i4"), ("name", f"S{longest_name}")])


@dataclass(frozen=True)
class Shard:
    file: str  # its name in the folder of the split
    images: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Split:
    images: int
    index_sha256: str
    shards: list[Shard]


@dataclass(frozen=True)
class Description:
    """The content of dataset.json."""

    format: str
    classes: list[str]
    splits: dict[str, Split]

    def as_json(self) -> dict[str, Any]:
        return {"packed": VERSION, **asdict(self)}


def read_description(root: Path) -> Description | None:
    """The content of ``root``'s dataset.json; None if there is none, or one of another program.

    Raises UserError if it is damaged or has another version.
    """
    path = root / DESCRIPTION
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"data.root: {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise UserError(f"data.root: {path} is not JSON ({error}); data.format=folder ignores it.") from None
    if not isinstance(said, dict) or "packed" not in said:
        return None
    if said["packed"] != VERSION:
        raise UserError(
            f"data.root: {path} has version {said['packed']} of packed data, this program reads version {VERSION}; pack the "
            "images again."
        )
    try:
        found = Description(
            said["format"],
            [str(name) for name in said["classes"]],
            {
                name: Split(
                    int(split["images"]),
                    str(split["index_sha256"]),
                    [Shard(str(s["file"]), int(s["images"]), int(s["bytes"]), str(s["sha256"])) for s in split["shards"]],
                )
                for name, split in ((name, said["splits"][name]) for name in SPLITS)
            },
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"data.root: {path} is damaged ({type(error).__name__}: {error}).") from None
    if found.format not in FORMATS:
        raise UserError(f"data.root: {path} has the format {found.format!r}; this program reads {' and '.join(FORMATS)}.")
    for name in (shard.file for split in found.splits.values() for shard in split.shards):
        if not _SHARD.fullmatch(name):  # such as a path to another folder
            raise UserError(f"data.root: {path} names a shard {name!r}; allowed: names such as 00000.{found.format}.")
    return found


def format_of(data: DataConfig) -> str:
    """``folder``, ``tar`` or ``mindrecord``: the format of the images in data.root.

    Raises UserError if it differs from data.format.
    """
    if data.root is None:
        return "folder"
    root = Path(data.root)
    try:
        described = read_description(root)
    except UserError:
        if data.format == "folder":
            return "folder"
        raise
    there = "folder" if described is None else described.format
    if data.format in ("auto", there):
        return there
    if described is None:
        raise UserError(
            f"data.format is {data.format}, but {root} has no {DESCRIPTION} of task=pack; give the folder written as "
            "task.output, or data.format=folder for class folders."
        )
    raise UserError(
        f"data.format is {data.format}, but {root} contains {there} shards ({DESCRIPTION}); give data.format={there}."
    )


class Packed(EncodedDataset):
    """One split. Its shards stay open as long as the object exists."""

    def __init__(
        self, folder: Path, classes: list[str], shards: Sequence[Shard], index: np.ndarray, max_pixels: int, background: str
    ) -> None:
        """``index`` has a row of ``index_type`` for each image, in order; labels are positions in ``classes``.

        Raises UserError if a shard is missing or has the wrong size.
        """
        self.folder = folder
        self.place = str(folder)
        self.classes = classes
        self.shards = list(shards)
        self.max_pixels, self.background = max_pixels, background
        self.labels = index["label"].astype(np.int64)
        self.names = np.ascontiguousarray(index["name"])
        self.shard, self.offset, self.length = (np.ascontiguousarray(index[key]) for key in ("shard", "offset", "length"))
        self._paths = [str(folder / shard.file) for shard in self.shards]
        self._open()

    def _open(self) -> None:
        self._descriptors: list[int] = []
        weakref.finalize(self, _close, self._descriptors)
        _allow_open_files(len(self.shards), self.folder)
        for path, shard in zip(self._paths, self.shards, strict=True):
            self._descriptors.append(_opened(path, shard.bytes))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_descriptors"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In another process, which opens the shards itself."""
        vars(self).update(state)
        self._open()

    def content(self, index: int) -> bytes:
        return self.read(index, self.max_pixels)

    def read(self, index: int, max_pixels: int) -> bytes:
        """As ``content``, with another limit."""
        from deit.data.decode import check_file_size

        shard, length = int(self.shard[index]), int(self.length[index])
        check_file_size(length, self.describe(index), max_pixels)
        try:
            found = os.pread(self._descriptors[shard], length, int(self.offset[index]))
        except OSError as error:
            raise UserError(f"{self.describe(index)}: cannot be read ({error.strerror}).", exit_code=1) from error
        if len(found) < length:
            raise UserError(
                f"{self.describe(index)}: the shard ends within this image; it was truncated meanwhile.", exit_code=1
            )
        return found

    def describe(self, index: int) -> str:
        """``ROOT/train/00003.tar:CLASS/IMAGE``: the shard, and the image's name in it."""
        return f"{self._paths[self.shard[index]]}:{self.name(index)}"

    def name(self, index: int) -> str:
        """``CLASS/IMAGE``, as in the class folders."""
        return f"{self.classes[self.labels[index]]}/{os.fsdecode(self.names[index].item())}"

    def damaged(self, advance: Callable[[int], Any]) -> list[str]:
        """The shards whose checksum is wrong; ``advance`` is called with the number of bytes that were read.

        Raises UserError (exit code 1) if one cannot be read.
        """
        found = []
        for path, shard, descriptor in zip(self._paths, self.shards, self._descriptors, strict=True):
            if checksum(descriptor, path, advance) != shard.sha256:
                found.append(path)
        return found


def open_packed(data: DataConfig, train: bool) -> Packed:
    """A split of a data.root written by task=pack. Raises UserError if it is not complete."""
    assert data.root is not None
    found = packed_split(Path(data.root) / ("train" if train else "val"), data.max_pixels, data.background)
    assert found is not None  # format_of has found it
    return found


def packed_split(folder: Path, max_pixels: int, background: str) -> Packed | None:
    """The split that task=pack has written into ``folder``; None if there is none. Raises as ``open_packed``."""
    described = read_description(folder.parent)
    if described is None or folder.name not in described.splits:
        return None
    split = described.splits[folder.name]
    index = _read_index(folder / INDEX, split, len(described.classes))
    return Packed(folder, described.classes, split.shards, index, max_pixels, background)


def checksum(descriptor: int, path: str, advance: Callable[[int], Any]) -> str:
    """SHA-256 of an open file. Raises UserError (exit code 1) if ``path`` cannot be read."""
    digest, position = hashlib.sha256(), 0
    try:
        while block := os.pread(descriptor, BLOCK, position):
            digest.update(block)
            position += len(block)
            advance(len(block))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).", exit_code=1) from error
    return digest.hexdigest()


def _read_index(path: Path, split: Split, classes: int) -> np.ndarray:
    again = "copy the packed data again, or repack the images"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"data.root: {path} cannot be read ({error.strerror}); {again}.") from None
    if hashlib.sha256(content).hexdigest() != split.index_sha256:
        raise UserError(f"data.root: {path} differs from its SHA-256 in {DESCRIPTION}; {again}.")
    try:
        index = np.load(io.BytesIO(content))
    except (ValueError, EOFError, MemoryError) as error:
        raise UserError(f"data.root: {path} is not an index ({error}); {again}.") from None
    fields = index.dtype.fields or {}
    width = fields["name"][0].itemsize if "name" in fields else 0
    if index.dtype != index_type(width) or index.shape != (split.images,):
        raise UserError(f"data.root: {path} is not an index of {split.images} images; {again}.")
    if not len(index):
        raise UserError(f"data.root: {path} names no images; {again}.")
    sizes = np.array([shard.bytes for shard in split.shards], np.int64)
    wrong = (index["shard"] < 0) | (index["shard"] >= len(sizes)) | (index["label"] < 0) | (index["label"] >= classes)
    if not wrong.any():
        # Subtracted, because a sum could overflow.
        wrong = (index["offset"] < 0) | (index["length"] < 0) | (index["length"] > sizes[index["shard"]] - index["offset"])
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise UserError(f"data.root: {path} places image {row} beyond its shard or its label beyond the classes; {again}.")
    return index


def _opened(path: str, size: int) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(
            f"data.root: the shard {path} cannot be opened ({error.strerror}), but {DESCRIPTION} names it."
        ) from None
    found = os.fstat(descriptor).st_size
    if found != size:
        os.close(descriptor)
        raise UserError(
            f"data.root: the shard {path} has {found:,} bytes, but {DESCRIPTION} says {size:,}; copy it again, or pack the "
            "images again."
        )
    return descriptor


def _allow_open_files(more: int, folder: Path) -> None:
    """Raise the limit of open files, if allowed, when ``more`` would exceed it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = sum(1 for _ in Path("/proc/self/fd").iterdir()) + more + SPARE_FILES
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise UserError(
            f"data.root: {folder} has {more} shards, but this process may open {hard} files (ulimit -n); pack the images with "
            "a larger task.shard_mb."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
