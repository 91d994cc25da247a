"""ImageNet (ILSVRC 2012) as one downloads it: the tars of the images, and the labels of the validation images in the devkit.

    ILSVRC2012_img_train.tar         1,000 tars, one per class, named after it: n01440764.tar
    ILSVRC2012_img_val.tar           50,000 images: ILSVRC2012_val_00000001.JPEG ...
    ILSVRC2012_devkit_t12.tar.gz     data/meta.mat: the classes of the labels;
                                     data/ILSVRC2012_validation_ground_truth.txt: the label of each validation image

The tars are not compressed, so an image is some bytes of them: task=pack reads it there, and nothing is unpacked. Classes,
order and bytes are those of class folders made of the same files.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deit.config.schema import DataConfig
from deit.data.source import EncodedDataset
from deit.errors import UserError
from deit.packing.tar_members import Member, members
from deit.progress_bar import Bars

TRAIN, VAL, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
META, TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"
LARGEST = 100 * 10**6  # bytes of a file in the devkit
BLOCK = 1 << 20
# Bytes and MD5 of the original files, as their page of downloads gives them.
ORIGINALS = {
    TRAIN: (147_897_477_120, "1d675b47d978889d74fa0da5fadfb00e"),
    VAL: (6_744_924_160, "29b22e2961454d5413ddabcf34fc5622"),
}


class TarredImages(EncodedDataset):
    """One split in a tar; ``names`` are the encoded names of the files [N], ``labels`` is int64 [N], ``offsets`` and ``sizes``
    are bytes in the tar, int64 [N].
    """

    def __init__(self, tar: Path, classes: list[str], found: Sequence[tuple[int, Member]], data: DataConfig) -> None:
        """``found`` are the images with their labels."""
        self.place = str(tar)
        self.classes = classes
        self.labels = np.array([label for label, _ in found], np.int64)
        self.names = np.array([os.fsencode(member.name) for _, member in found])
        self.offsets = np.array([member.offset for _, member in found], np.int64)
        self.sizes = np.array([member.size for _, member in found], np.int64)
        self.max_pixels, self.background = data.max_pixels, data.background

    def names_in_class(self) -> NDArray[np.bytes_]:
        """The names of the files, [N]."""
        return self.names

    def content(self, index: int) -> bytes:
        with open(self.place, "rb") as file:
            file.seek(int(self.offsets[index]))
            return file.read(int(self.sizes[index]))

    def describe(self, index: int) -> str:
        return f"{self.place}:{self.name(index)}"

    def name(self, index: int) -> str:
        """``CLASS/IMAGE``, as in class folders."""
        return f"{self.classes[self.labels[index]]}/{os.fsdecode(self.names[index].item())}"


_opened: dict[tuple[Any, ...], dict[str, TarredImages]] = {}  # by what the files were when their headers were read


def open_tars(text: str, data: DataConfig, bars: Bars) -> dict[str, TarredImages]:
    """Both splits of the tars in the folder ``text``, the value of task.source.

    Raises UserError if a file is missing, damaged, or contains something else.
    """
    folder = Path(text)
    missing = [name for name in (TRAIN, VAL, DEVKIT) if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"task.source={text}: there is no {missing[0]}; the folder must contain {TRAIN}, {VAL} and {DEVKIT}, as "
            "image-net.org offers them for ILSVRC 2012."
        )
    states = [(folder / name).resolve().stat() for name in (TRAIN, VAL, DEVKIT)]
    key = (str(folder.resolve()), *((state.st_size, state.st_mtime_ns) for state in states))
    if key not in _opened:
        _opened[key] = {split: _sorted(images) for split, images in _open(folder, data, bars).items()}
    return _opened[key]


def check_originals(folder: Path, bars: Bars) -> None:
    """Compare files that have the length of ImageNet's own with their MD5; takes minutes. Raises UserError if one differs."""
    for name, (size, digest) in ORIGINALS.items():
        file = folder / name
        if file.stat().st_size != size:
            continue
        bar = bars.add(f"MD5 of {name}, bytes", size)
        if (found := _md5(file, bar.advance)) != digest:
            raise UserError(f"task.source: {file} has the MD5 {found}, ImageNet's own has {digest}; download it again.")
        bar.close()


def _open(folder: Path, data: DataConfig, bars: Bars) -> dict[str, TarredImages]:
    label_of_id, truth = _labels(folder / DEVKIT)
    classes: list[str] = []
    train: list[tuple[int, Member]] = []
    tars = sorted(members(folder / TRAIN), key=lambda member: member.name)
    bar = bars.add("train headers, classes", len(tars))
    for label, tar in enumerate(tars):
        if not re.fullmatch(r"n[0-9]{8}\.tar", tar.name):
            raise UserError(
                f"task.source: {folder / TRAIN} contains {tar.name}; expected: a tar per class, such as n01440764.tar."
            )
        classes.append(tar.name.removesuffix(".tar"))
        train += [(label, member) for member in members(folder / TRAIN, tar)]
        bar.advance(1)
    bar.close()
    known = {name: label for label, name in enumerate(classes)}
    lacking = sorted(set(label_of_id.values()) - set(known))
    if lacking:
        raise UserError(f"task.source: {folder / TRAIN} has no {lacking[0]}.tar, but {META} of {DEVKIT} names that class.")
    val: list[tuple[int, Member]] = []
    for member in members(folder / VAL):
        number = re.fullmatch(r"ILSVRC2012_val_([0-9]{8})\.JPEG", member.name)
        if number is None or not 1 <= int(number[1]) <= len(truth):
            raise UserError(f"task.source: {folder / VAL} contains {member.name}, which has none of the {len(truth):,} labels.")
        val.append((known[label_of_id[truth[int(number[1]) - 1]]], member))
    for name, images in ((TRAIN, train), (VAL, val)):
        if not images:
            raise UserError(f"task.source: {folder / name} contains no images.")
    return {"train": TarredImages(folder / TRAIN, classes, train, data), "val": TarredImages(folder / VAL, classes, val, data)}


def _sorted(images: TarredImages) -> TarredImages:
    """In the order of class folders: by class, then by name."""
    order = np.lexsort((images.names, images.labels))
    for key in ("labels", "names", "offsets", "sizes"):
        setattr(images, key, getattr(images, key)[order])
    return images


def _labels(devkit: Path) -> tuple[dict[int, str], list[int]]:
    """The class of each label, and the label of each validation image in the order of their numbers."""
    from scipy.io import loadmat  # late, because it takes a second

    files = _read(devkit)
    try:
        rows = loadmat(io.BytesIO(files[META]), squeeze_me=True)["synsets"]
        # Those without children are classes, the others are groups of them.
        classes = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows if not int(row["num_children"])}
    except Exception as error:  # of a damaged file nearly anything
        raise UserError(f"task.source: {META} of {devkit} cannot be read ({type(error).__name__}: {error}).") from None
    truth = files[TRUTH].decode("ascii", "replace").split()
    for line, text in enumerate(truth, 1):
        if not text.isdecimal() or int(text) not in classes:
            raise UserError(f"task.source: {TRUTH} of {devkit}, line {line}: {text!r} is no label of a class.")
    return classes, [int(text) for text in truth]


def _read(devkit: Path) -> dict[str, bytes]:
    """The two files of the devkit, in memory."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(devkit, "r:gz") as opened:
            for member in opened:
                wanted = next((name for name in (META, TRUTH) if f"/{member.name}".endswith(f"/{name}")), None)
                content = opened.extractfile(member) if wanted is not None and member.isfile() else None
                if wanted is not None and content is not None and member.size <= LARGEST:
                    found[wanted] = content.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"task.source: {devkit} cannot be read ({error}); download it again.") from None
    for name in (META, TRUTH):
        if name not in found:
            raise UserError(f"task.source: {devkit} contains no {name}.")
    return found


def _md5(file: Path, advance: Callable[[int], Any]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with open(file, "rb") as content:
            while block := content.read(BLOCK):
                digest.update(block)
                advance(len(block))
    except OSError as error:
        raise UserError(f"task.source: {file} cannot be read ({error.strerror}).", exit_code=1) from None
    return digest.hexdigest()
