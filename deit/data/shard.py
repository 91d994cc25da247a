"""Tar shards, and what the writers of all formats share.

A writer writes the images of one shard and returns their offsets. The bytes are those of the files, never decoded.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deit.errors import UserError

BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Source:
    """An image to pack: its ``number`` in the split, its ``label``, class folder and name, path, and bytes.

    ``offset``: where it begins in the file ``path``, which contains others, too; None if it is the whole file.
    """

    number: int
    label: int
    name: str  # CLASS/FILE
    path: str
    size: int
    offset: int | None = None


@dataclass(frozen=True)
class Written:
    """For each image of a shard, in order: the offset of its bytes, and their SHA-256 as they were read."""

    offsets: list[int]
    digests: list[str]


def read_source(source: Source) -> bytes:
    """The image's bytes. Raises UserError (exit code 1) if they cannot be read, or their number has changed."""
    try:
        with open(source.path, "rb") as file:
            file.seek(source.offset or 0)
            content = file.read() if source.offset is None else file.read(source.size)
    except OSError as error:
        raise UserError(f"{source.path}: cannot be read ({error.strerror}).", exit_code=1) from error
    if len(content) != source.size:
        raise UserError(f"{source.path}: had {source.size} bytes, now it has {len(content)}: it has changed.", exit_code=1)
    return content


def write_tar(path: Path, sources: Sequence[Source], advance: Callable[[int], Any]) -> Written:
    """Write the shard; ``advance`` is called with the number of written images. Raises UserError as ``read_source``, OSError.

    Members are CLASS/FILE, so that `tar xf` restores the class folders, each followed by its label as CLASS/KEY.cls for
    WebDataset; the key is the name up to its first dot. The bytes do not depend on when, where or by whom it is written.
    """
    offsets, digests, last = [], [], None
    with open(path, "wb") as file:
        for source in sources:
            content = read_source(source)
            digests.append(hashlib.sha256(content).hexdigest())
            offsets.append(_add(file, source.name, content))
            key = sample_key(source.name)
            if key != last:  # two members of one name are an error for WebDataset
                _add(file, f"{key}.cls", str(source.label).encode())
            last = key
            advance(1)
        end = file.tell() + 2 * BLOCK
        file.write(bytes(2 * BLOCK + -end % tarfile.RECORDSIZE))
        file.flush()
        os.fsync(file.fileno())
    return Written(offsets, digests)


def sample_key(name: str) -> str:
    """WebDataset's name of a sample: ``a/b.x.jpg`` is ``a/b``."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"


def _add(file: Any, name: str, content: bytes) -> int:
    """Append a member; returns the offset of its content."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = len(content), 0o644
    file.write(header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    offset: int = file.tell()
    file.write(content)
    file.write(bytes(-len(content) % BLOCK))
    return offset
