"""Weights out of the files people have: ``.safetensors``, and what ``torch.save`` writes (``.pth``, ``.pt``, ``.bin``).

A file is checked by what it carries: an official file by the SHA-256 prefix in its name, the part of a checkpoint by the
checksum in ``state.json``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TypeVar

import numpy as np
import safetensors

from deit.errors import UserError
from deit.runs import checkpoint
from deit.weights import official
from deit.weights.dtypes import BFLOAT16, Kind, decode
from deit.weights.pth import read_pth, read_pth_shapes

Value = TypeVar("Value")
Shapes = dict[str, tuple[int, ...]]

TORCH = (".pth", ".pt", ".bin")
SUFFIXES = (".safetensors", *TORCH)
MOST_BYTES = 16 << 30  # of a file; the largest of those known here has 1.4 GB with its optimizer
MOST_HEADER = 16 << 20  # of a safetensors file, which has some 100 bytes a tensor
FORMAT = "deit"  # the metadata `format` of files that describe themselves

_KINDS: dict[str, Kind] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": BFLOAT16,
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "?",
}


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file by their names in it; float16 and bfloat16 as float32.

    Raises UserError where it is missing, damaged or not the official file it is named after, and for other formats.
    """
    _check_suffix(path)
    prefix = official.sha256_prefix(path.name)
    if prefix is not None:
        _check_prefix(path, prefix)
    if path.suffix in TORCH:
        return _printable(read_pth(path), path)
    _check_header(path)
    content = checkpoint.read_file(path) if _is_part(path) else _bytes(path)
    try:
        entries = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: truncated or no safetensors file ({error}).") from None
    weights = {}
    for name, entry in entries:
        if entry["dtype"] not in _KINDS:
            raise UserError(f"{path}: {name} has the type {entry['dtype']}; allowed: {', '.join(_KINDS)}.")
        weights[name] = decode(entry["data"], _KINDS[entry["dtype"]]).reshape(entry["shape"])
    return _printable(weights, path)


def read_shapes(path: Path) -> tuple[Shapes, dict[str, str]]:
    """Shape of each tensor, and the file's metadata, from its header alone: milliseconds for a file of any size.

    The part of a checkpoint folder describes itself like a file of ``task=convert``, by its ``state.json``.
    Raises UserError as ``read_weights`` does, except for damage within the tensors.
    """
    _check_suffix(path)
    if path.suffix in TORCH:
        return _printable(read_pth_shapes(path), path), {}
    _check_header(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: truncated or no safetensors file ({error}).") from None
    if _is_part(path):
        state = checkpoint.read_state(path.parent)
        if "model" in state:
            metadata = description(state["model"], state["num_classes"], "mindspore")
    return _printable(shapes, path), metadata


def description(model: dict[str, object], num_classes: int, naming: str) -> dict[str, str]:
    """The metadata by which a file describes itself: what ``ModelConfig`` it is of, its classes and its names."""
    return {"format": FORMAT, "model": json.dumps(model), "num_classes": str(num_classes), "naming": naming}


def said_of(path: Path) -> str:
    """What a file is known to be of, as a half sentence for messages; empty where nothing is known of it."""
    entry = next((entry for entry in official.OFFICIAL.values() if entry.file_name == path.name), None)
    if entry is not None:
        return f"it is {entry.name}, so of model={entry.model}" if entry.model else f"it is {entry.name}, which is no DeiT"
    try:
        metadata = read_shapes(path)[1]
        model = json.loads(metadata["model"])
        return f"it says that it is of {model['name']} with img_size {model['img_size']}, {metadata['num_classes']} classes"
    except (KeyError, ValueError, TypeError):  # no file of ours
        return ""


def _printable(named: dict[str, Value], path: Path) -> dict[str, Value]:
    # Names are shown on terminals.
    for name in named:
        if not name.isprintable():
            raise UserError(f"{path}: has a tensor called {name!r}, which no terminal can show.")
    return named


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: weights are read from {', '.join(SUFFIXES)} files.")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file.")


def _is_part(path: Path) -> bool:
    """Whether the file belongs to a checkpoint folder."""
    return (path.parent / checkpoint.STATE).is_file()


def _check_header(path: Path) -> None:
    """Judge the sizes a safetensors file claims before anything of them is allocated."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            header = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}).") from None
    if size > MOST_BYTES:
        raise UserError(f"{path}: {size:,} bytes are more than the {MOST_BYTES:,} that weights may have.")
    if size < 8 or header > size - 8:
        raise UserError(f"{path}: truncated or no safetensors file (its header would end beyond the file).")
    if header > MOST_HEADER:
        raise UserError(f"{path}: its header has {header:,} bytes, more than the {MOST_HEADER:,} that weights may need.")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}).") from None


def _check_prefix(path: Path, prefix: str) -> None:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if not digest.hexdigest().startswith(prefix):
        raise UserError(
            f"{path}: its SHA-256 begins with {digest.hexdigest()[:8]}, but that of the official file of this name with "
            f"{prefix}: damaged, cut short or another file. Download it again, or give it another name."
        )
