"""Weights from ``torch.save`` files, without torch and without executing anything in them.

Two formats: a zip archive (torch 1.6 and later) and the older plain sequence of pickles, which many published files still have.
In both, a pickle describes the objects and names storages, runs of numbers elsewhere in the file. ``deit.weights.unpickle``
reads the pickle, and every size in it is checked against the file before anything is allocated.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from deit.errors import UserError
from deit.weights.dtypes import OF_TORCH, Kind, decode, itemsize
from deit.weights.unpickle import MALFORMED, Global, Refused, unpickle

# Keys of the weights in training files, in order of preference; without them the file is the weights.
KEYS = ("model", "state_dict", "model_state_dict")
EMA_KEYS = ("model_ema", "state_dict_ema", "ema_state_dict")  # of facebookresearch/deit, timm, others

_KINDS: dict[str, Kind] = {
    f"{module}.{name}Storage": kind for name, kind in OF_TORCH.items() for module in ("torch", "torch.storage")
}
_TENSOR, _PARAMETER = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"
_ORDERED_DICT = "collections.OrderedDict"
_ARGUMENTS = "argparse.Namespace"  # facebookresearch/deit and timm store their command line with the weights
_ALLOWED = {*_KINDS, _TENSOR, _PARAMETER, _ORDERED_DICT, _ARGUMENTS}

_MAGIC = 0x1950A86A20F9469CFC6C  # the first object of the older format
_MOST_PICKLE = 4 << 20  # bytes; that of a large model with its optimizer has half a million
_MOST_COPIES = 4  # tensors may share storages; in total they are at most so many times the file


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: Kind
    numel: int

    @property
    def bytes(self) -> int:
        return self.numel * itemsize(self.kind)


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * itemsize(self.storage.kind)

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """A contiguous copy from the storage's numbers; the bounds have been checked by ``_tensor``."""
        if 0 in self.shape:
            return np.zeros(self.shape, numbers.dtype)
        strides = [step * numbers.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides, writeable=False).copy()


class _Opaque:
    """An object that no weights depend on, such as the command line of the training: it is ignored."""


Fetch = Callable[[_Storage], bytes]


def read_pth(path: Path, ema: bool = False) -> dict[str, np.ndarray]:
    """The tensors of a ``torch.save`` file by name, float16 and bfloat16 as float32; names as in the file.

    The weights are the file itself, or under one of ``KEYS`` in it; with ``ema`` under one of ``EMA_KEYS``. Raises UserError if
    the file is not torch's, is damaged, contains no such weights, or refers to anything but weights.
    """
    return _read(path, lambda found, fetch, size: _load(_weights(found, ema), fetch, size))


def read_pth_shapes(path: Path, ema: bool = False) -> dict[str, tuple[int, ...]]:
    """Only the shapes, without reading the tensors. Raises UserError as ``read_pth`` does."""
    return _read(path, lambda found, fetch, size: {name: tensor.shape for name, tensor in _weights(found, ema).items()})


def ema_key(path: Path) -> str | None:
    """The key of EMA weights in the file; None if there are none."""
    return _read(path, lambda found, fetch, size: _ema_key(found))


def _read(path: Path, use: Callable[[Any, Fetch, int], Any]) -> Any:
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            is_zip = file.read(2) == b"PK"
            file.seek(0)
            described, fetch = (_zip if is_zip else _sequence)(file, size)
            return use(described, fetch, size)
    except Refused as error:
        raise UserError(f"{path}: refused: {error}. {_RESAVE}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror or error}).") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error, *MALFORMED) as error:
        raise UserError(f"{path}: truncated or damaged ({type(error).__name__}: {error}).") from None


_BIG_ENDIAN = "was saved on a big-endian machine; save it again on another."
_RESAVE = (
    "If you trust the file and have torch, save only its weights: "
    "torch.save({'model': torch.load(FILE, weights_only=False)['model']}, NEW_FILE)"
)


def _zip(file: BinaryIO, size: int) -> tuple[Any, Fetch]:
    """The object of a zip archive, and a function that reads its storages."""
    archive = zipfile.ZipFile(file)
    members = archive.infolist()
    # torch does not compress. So neither a member nor all of them can be larger than the file; and each has as many bytes as it
    # claims, which zipfile does not check for stored members.
    stored = all(m.compress_type == zipfile.ZIP_STORED and m.compress_size == m.file_size for m in members)
    if not stored or sum(m.file_size for m in members) > size:
        raise UserError("a zip archive, but not as torch.save writes it: its members must be stored, not compressed.")
    roots = [member.filename.removesuffix("data.pkl") for member in members if member.filename.endswith("/data.pkl")]
    if len(roots) != 1:
        raise UserError("a zip archive, but not one of torch.save: it has no data.pkl.")
    (root,) = roots
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise UserError(_BIG_ENDIAN)
    if archive.getinfo(f"{root}data.pkl").file_size > _MOST_PICKLE:
        raise UserError(f"its data.pkl is larger than {_MOST_PICKLE} bytes, the limit for weights.")
    described, _ = _unpickle(io.BytesIO(archive.read(f"{root}data.pkl")))

    def fetch(storage: _Storage) -> bytes:
        member = archive.getinfo(f"{root}data/{storage.key}")
        if member.file_size != storage.bytes:
            raise ValueError(f"storage {storage.key!r} has {member.file_size} bytes in the file, not {storage.bytes}")
        return archive.read(member)  # compares its CRC-32, too

    return described, fetch


def _sequence(file: BinaryIO, size: int) -> tuple[Any, Fetch]:
    """The same for the format before torch 1.6: five pickles, then the storages, each after its length."""
    head = io.BytesIO(file.read(_MOST_PICKLE))
    try:
        magic, _ = _unpickle(head)
    except (UserError, *MALFORMED):
        magic = None
    if magic != _MAGIC:
        raise UserError(f"not a file of torch.save: it begins with {head.getvalue()[:16]!r}.")
    _unpickle(head)  # the version of the format, always the same
    system, _ = _unpickle(head)
    if not system["little_endian"]:
        raise UserError(_BIG_ENDIAN)
    described, storages = _unpickle(head)
    keys, _ = _unpickle(head)
    begins: dict[str, int] = {}
    position = head.tell()
    for key in keys:
        file.seek(position)
        (numel,) = struct.unpack("<q", file.read(8))
        begins[key] = position + 8
        position = begins[key] + storages[key].bytes
        if numel != storages[key].numel or position > size:
            raise ValueError(f"storage {key!r} claims {storages[key].numel} numbers, its own header {numel}")

    def fetch(storage: _Storage) -> bytes:
        file.seek(begins[storage.key])
        return file.read(storage.bytes)

    return described, fetch


def _unpickle(stream: io.BytesIO) -> tuple[Any, dict[str, _Storage]]:
    """The next object of ``stream`` with ``_Tensor`` for each tensor, and all storages it names."""
    storages: dict[str, _Storage] = {}

    def storage(persistent: Any) -> _Storage:
        # A view of another storage, which torch has not written for years, has a sixth element.
        what, kind, key, _, numel = persistent[:5]
        if what != "storage" or persistent[5:] not in ((), (None,)) or not isinstance(key, str):
            raise ValueError("a persistent id that is no storage")
        found = _Storage(key, _KINDS[kind.name], _size(numel))
        if storages.setdefault(key, found) != found:
            raise ValueError(f"storage {key!r} occurs with two types or lengths")
        return found

    return unpickle(stream, _ALLOWED, _make, storage), storages


def _make(what: Global, arguments: tuple[Any, ...]) -> Any:
    if what.name == _TENSOR:
        storage, offset, shape, stride, *_ = arguments
        return _tensor(storage, offset, shape, stride)
    if what.name == _PARAMETER:
        return arguments[0]
    if what.name == _ORDERED_DICT and not arguments:
        return {}
    if what.name == _ARGUMENTS:
        return _Opaque()
    raise ValueError(f"{what.name} made from {len(arguments)} arguments")


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any) -> _Tensor:
    """A view with all numbers inside its storage, and no number twice."""
    if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
        raise ValueError("a tensor without storage, shape or stride")
    tensor = _Tensor(storage, _size(offset), tuple(map(_size, shape)), tuple(map(_size, stride)))
    if len(shape) != len(stride) or len(shape) > 32:
        raise ValueError(f"a tensor with {len(shape)} axes and {len(stride)} strides")
    last = tensor.offset + sum((length - 1) * step for length, step in zip(tensor.shape, tensor.stride, strict=True))
    if 0 not in tensor.shape and (last >= storage.numel or math.prod(tensor.shape) > storage.numel):
        raise ValueError(f"a tensor of shape {tensor.shape} reaches beyond the {storage.numel} numbers of its storage")
    return tensor


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 48:
        raise ValueError("a size that is none")
    return value


def _weights(found: Any, ema: bool) -> dict[str, _Tensor]:
    """The weights in the unpickled object."""
    keys = EMA_KEYS if ema else KEYS
    if ema and _ema_key(found) is None:
        raise UserError(f"contains no EMA weights, which would be under {', '.join(EMA_KEYS)}.")
    if type(found) is dict:
        found = next((found[key] for key in keys if type(found.get(key)) is dict), found)
    if type(found) is not dict or not found:
        raise UserError(f"contains no weights: it is not a dict of tensors, and has none under {', '.join(keys)}.")
    others = [str(name) for name, value in found.items() if not isinstance(value, _Tensor) or not isinstance(name, str)]
    if others:
        names = ", ".join(repr(name[:40]) for name in others[:3])
        raise UserError(
            f"contains no weights under {', '.join(keys)}, and is not a dict of tensors only: {names} and others are not."
        )
    return found


def _ema_key(found: Any) -> str | None:
    return next((key for key in EMA_KEYS if type(found) is dict and type(found.get(key)) is dict), None)


def _load(weights: dict[str, _Tensor], fetch: Fetch, size: int) -> dict[str, np.ndarray]:
    if sum(tensor.bytes for tensor in weights.values()) > _MOST_COPIES * size:
        raise UserError("its tensors overlap so much that they are many times the file; save them as separate tensors.")
    numbers: dict[str, np.ndarray] = {}
    arrays = {}
    for name, tensor in weights.items():
        storage = tensor.storage
        if storage.key not in numbers:
            numbers[storage.key] = decode(fetch(storage), storage.kind)
        # The tensors were checked against the claimed size; a view beyond the real one would read foreign memory.
        if numbers[storage.key].size != storage.numel:
            raise ValueError(f"storage {storage.key!r} has {numbers[storage.key].size} numbers, not {storage.numel}")
        arrays[name] = tensor.of(numbers[storage.key])
    return arrays
