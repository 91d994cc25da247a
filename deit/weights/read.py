"""Read weights from safetensors, ``torch.save`` and MindSpore's ``.ckpt`` files.

The first bytes determine the format, not the suffix (``.pth.tar``, ``.SAFETENSORS``). Files are verified: an official file by
the SHA-256 prefix in its name, the part of a checkpoint by the checksum in ``state.json``, a ``.ckpt`` by its CRC-32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import safetensors

from deit.config.schema import sides
from deit.errors import UserError
from deit.files import sha256
from deit.runs import checkpoint
from deit.weights import official, recorded_sums
from deit.weights.dtypes import OF_SAFETENSORS, decode
from deit.weights.mindspore_ckpt import looks_like, read_ckpt, read_ckpt_shapes
from deit.weights.one_network import of_network
from deit.weights.pth import ema_key, read_pth, read_pth_shapes

Value = TypeVar("Value")
Shapes = dict[str, tuple[int, ...]]

SAFETENSORS, TORCH, MINDSPORE = "safetensors", "torch", "mindspore"  # the formats
FORMATS = "safetensors, torch.save (.pth, .pt, .bin) and MindSpore's .ckpt"
_BY_SUFFIX = {".safetensors": SAFETENSORS, ".pth": TORCH, ".pt": TORCH, ".bin": TORCH, ".ckpt": MINDSPORE}
MOST_BYTES = 16 << 30  # of a file; the largest known one has 1.4 GB with its optimizer
MOST_HEADER = 16 << 20  # of a safetensors file, which has about 100 bytes per tensor
_FORMAT = "pt"  # the metadata `format` that Hugging Face's loaders require: torch's tensor layout


def read_weights(path: Path, weights: str = "raw") -> dict[str, np.ndarray]:
    """The tensors of the network in a file, by their names without prefixes; float16 and bfloat16 as float32.

    ``weights`` is ``ema`` for the moving average in a training file of torch. Raises UserError if the file is missing, damaged,
    not the official file of its name, or of another format.
    """
    kind = format_of(path)
    if path.name in official.BY_FILE:
        _check_official(path)
    if kind == SAFETENSORS:
        found = _read_safetensors(path)
    elif kind == TORCH:
        _check_size(path)
        found = read_pth(path, weights == "ema")
    else:
        _check_size(path)
        found = read_ckpt(path)
    return of_network(_printable(found, path), str(path), np.concatenate)


def read_shapes(path: Path, weights: str = "raw") -> tuple[Shapes, dict[str, str]]:
    """Shape of each tensor, and the file's metadata, from its header alone: milliseconds for a file of any size.

    The part of a checkpoint folder describes itself like a file of ``task=convert``, through its ``state.json``. Raises
    UserError as ``read_weights`` does, except for damage within the tensors.
    """
    kind = format_of(path)
    metadata: dict[str, str] = {}
    if kind == TORCH:
        shapes = read_pth_shapes(path, weights == "ema")
    elif kind == MINDSPORE:
        shapes = read_ckpt_shapes(path)
    else:
        shapes, metadata = _read_header(path)
    return of_network(_printable(shapes, path), str(path), _joined), metadata


def holds_ema(path: Path) -> bool:
    """Whether a training file contains a moving average besides its raw weights. Raises UserError as ``read_shapes`` does."""
    return format_of(path) == TORCH and ema_key(path) is not None


def format_of(path: Path) -> str:
    """The format of a file, from its first bytes. Raises UserError if it is missing or of another format."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise UserError(f"{path}: " + ("no such file." if missing else f"not readable ({error.strerror}).")) from None
    if head[8:9] == b"{":
        return SAFETENSORS
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return TORCH
    # The reader of the format in the name rejects damaged files.
    by_name = _BY_SUFFIX.get(path.suffix.lower())
    if by_name is None and looks_like(head):
        return MINDSPORE
    if by_name is None:
        raise UserError(f"{path}: not a weight file; allowed formats: {FORMATS}. It begins with {head!r}.")
    return by_name


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    _check_header(path)
    content = checkpoint.read_file(path) if is_part(path) else _bytes(path)
    try:
        entries = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: truncated or not a safetensors file ({error}).") from None
    weights = {}
    for name, entry in entries:
        if entry["dtype"] not in OF_SAFETENSORS:
            raise UserError(f"{path}: {name} has the type {entry['dtype']}; allowed: {', '.join(OF_SAFETENSORS)}.")
        weights[name] = decode(entry["data"], OF_SAFETENSORS[entry["dtype"]]).reshape(entry["shape"])
    return weights


def _read_header(path: Path) -> tuple[Shapes, dict[str, str]]:
    _check_header(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: truncated or not a safetensors file ({error}).") from None
    if is_part(path):
        state = checkpoint.read_state(path.parent)
        if "model" in state:
            metadata = description(state["model"], state["num_classes"], "mindspore", state.get("classes"))
    return shapes, metadata


def _joined(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def description(
    model: Mapping[str, object], num_classes: int, naming: str, classes: Sequence[str] | None = None
) -> dict[str, str]:
    """The metadata with which a file describes itself: its ``ModelConfig``, classes and naming."""
    described = {"format": _FORMAT, "model": json.dumps(model), "num_classes": str(num_classes), "naming": naming}
    return described if classes is None else described | {"classes": json.dumps(list(classes), ensure_ascii=False)}


def class_names(metadata: Mapping[str, str], source: str) -> list[str] | None:
    """The class names by label from the metadata of a file; None if they are not there.

    Raises UserError, naming ``source``, if the entry is damaged.
    """
    if "classes" not in metadata:
        return None
    try:
        names = json.loads(metadata["classes"])
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    except ValueError:
        pass
    raise UserError(f"{source}: the class names in its metadata are damaged.")


def names_of(path: Path) -> list[str] | None:
    """The class names with which the weights in a file were trained; None if the file does not have them."""
    return class_names(read_shapes(path)[1], str(path))


def grid_of(path: Path) -> tuple[int, int] | None:
    """Rows and columns of patches of the images for which the weights in a file were trained; None if it does not say so."""
    try:
        model = json.loads(read_shapes(path)[1]["model"])
        height, width = sides(model["img_size"])
        return height // model["patch_size"], width // model["patch_size"]
    except (KeyError, ValueError, TypeError):  # not a file of this program
        return None


def said_of(path: Path) -> str:
    """What is known about a file, as a clause for messages; empty if nothing is known."""
    if (entry := official.BY_FILE.get(path.name)) is not None:
        return f"it is {entry.name}, for model={entry.model}" if entry.model else f"it is {entry.name}, which is not a DeiT"
    try:
        metadata = read_shapes(path)[1]
        model = json.loads(metadata["model"])
        return f"its metadata say {model['name']} with img_size {model['img_size']}, {metadata['num_classes']} classes"
    except (KeyError, ValueError, TypeError):  # not a file of this program
        return ""


def _printable(named: dict[str, Value], path: Path) -> dict[str, Value]:
    # Names are printed on terminals.
    for name in named:
        if not name.isprintable():
            raise UserError(f"{path}: has a tensor called {name!r}, which cannot be printed.")
    return named


def is_part(path: Path) -> bool:
    """Whether the file belongs to a checkpoint folder."""
    return (path.parent / checkpoint.STATE).is_file()


def _check_header(path: Path) -> None:
    """Check the sizes in a safetensors header before anything is allocated."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            header = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}).") from None
    _check_size(path)
    if size < 8 or header > size - 8:
        raise UserError(f"{path}: truncated or not a safetensors file (its header would end beyond the file).")
    if header > MOST_HEADER:
        raise UserError(f"{path}: its header has {header:,} bytes, more than {MOST_HEADER:,}, the limit for weights.")


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise UserError(f"{path}: {size:,} bytes are more than {MOST_BYTES:,}, the limit for weights.")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}).") from None


def _check_official(path: Path) -> None:
    """Compare with the digits that the authors publish, or those of the first download."""
    prefix, recorded = official.BY_FILE[path.name].sha256, recorded_sums.recorded(path)
    known = recorded if prefix is None else prefix
    if known is not None and not (found := sha256(path)).startswith(known):
        of = "the official file of this name" if prefix else f"the file that {recorded_sums.FILE} recorded"
        raise UserError(
            f"{path}: its SHA-256 begins with {found[:8]}, but that of {of} with {known[:8]}: damaged, truncated or another "
            "file. Download it again, or rename it."
        )
