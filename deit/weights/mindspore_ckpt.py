"""MindSpore's own ``.ckpt`` files, read and written as data, without MindSpore and without executing anything in the file.

The format is protobuf (``mindspore/train/checkpoint_pb2``):

    message Checkpoint { repeated Value value = 1; }
    message Value { required string tag = 1; oneof { TensorProto tensor = 2; MapTensorProto maptensor = 3; } }
    message TensorProto { repeated int64 dims = 1; required string tensor_type = 2; required bytes tensor_content = 3; }

A file is a sequence of such messages, so it parses as one. A parameter of more than 512 MB is split: several consecutive values
with the same tag and the same dims. With ``crc_check`` the file ends in ``crc_num`` and ten bytes.
"""

from __future__ import annotations

import binascii
import math
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deit.errors import UserError
from deit.weights.dtypes import BFLOAT16, OF_MINDSPORE, decode, itemsize

_NAMES = {np.dtype(kind).name: name for name, kind in OF_MINDSPORE.items() if kind != BFLOAT16}
_TEXT = "str"  # text from save_checkpoint(append_dict=...); not a tensor
_CRC, _CRC_BYTES = b"crc_num", 10
_MOST_VALUES = 1 << 17
_MOST_TAG = 1 << 10
_MOST_AXES = 16
_SLICE = 512 << 20  # bytes of one value, as MindSpore splits them
_VARINT, _LENGTH = 0, 2  # the protobuf wire types that occur


@dataclass(frozen=True)
class _Value:
    """One value of the file: its content is ``file[begin:end]``."""

    tag: str
    shape: tuple[int, ...]
    kind: str
    begin: int
    end: int


def looks_like(head: bytes) -> bool:
    """Whether a file that begins with these bytes may be one: the first field of a Checkpoint, then that of a Value."""
    return head[:1] == b"\x0a" and b"\x0a" in head[2:8]


def read_ckpt(path: Path) -> dict[str, np.ndarray]:
    """The tensors by name, bfloat16 and float16 as float32. Raises UserError if the file is damaged or encrypted."""
    with _opened(path) as data:
        found = {}
        for tag, values in _grouped(data, path).items():
            content = b"".join(data[value.begin : value.end] for value in values)
            found[tag] = decode(content, OF_MINDSPORE[values[0].kind]).reshape(values[0].shape)
        return found


def read_ckpt_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Only the shapes: the tensors' bytes are skipped. Raises UserError as ``read_ckpt`` does."""
    with _opened(path) as data:
        return {tag: values[0].shape for tag, values in _grouped(data, path).items()}


def write_ckpt(weights: Mapping[str, np.ndarray]) -> bytes:
    """A file of these weights that ``mindspore.load_checkpoint`` reads, with its CRC-32."""
    pieces = []
    for name, value in weights.items():
        content = np.ascontiguousarray(value).tobytes()
        dims = b"".join(_field(1, _VARINT) + _varint(size) for size in value.shape)
        for start in range(0, max(1, len(content)), _SLICE):
            part = content[start : start + _SLICE]
            tensor = dims + _bytes(2, _NAMES[value.dtype.name].encode()) + _bytes(3, part)
            pieces.append(_bytes(1, _bytes(1, name.encode()) + _bytes(2, tensor)))
    body = b"".join(pieces)
    return body + _CRC + binascii.crc32(body).to_bytes(_CRC_BYTES, "big")


@contextmanager
def _opened(path: Path) -> Iterator[mmap.mmap]:
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable ({getattr(error, 'strerror', None) or error}).") from None


def _grouped(data: mmap.mmap, path: Path) -> dict[str, list[_Value]]:
    """The values by tag, after checking their sizes against their shapes and the file against its checksum."""
    end = _body(data, path)
    grouped: dict[str, list[_Value]] = {}
    try:
        for value in _values(data, end):
            grouped.setdefault(value.tag, []).append(value)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: truncated, encrypted or not a checkpoint of MindSpore ({error}).") from None
    for tag, values in grouped.items():
        kind, shape = values[0].kind, values[0].shape
        if kind not in OF_MINDSPORE:
            raise UserError(f"{path}: {tag} has the type {kind}; allowed: {', '.join(OF_MINDSPORE)}.")
        expected = math.prod(shape) * itemsize(OF_MINDSPORE[kind])
        bytes_found = sum(value.end - value.begin for value in values)
        if any((value.kind, value.shape) != (kind, shape) for value in values) or bytes_found != expected:
            raise UserError(f"{path}: damaged, {tag} of shape {shape} has {bytes_found} bytes, expected {expected}.")
    if not grouped:
        raise UserError(f"{path}: contains no tensors.")
    return grouped


def _body(data: mmap.mmap, path: Path) -> int:
    """The end of the messages; checks the checksum if the file has one."""
    tail = len(_CRC) + _CRC_BYTES
    end = len(data) - tail
    if end < 0 or data[end : end + len(_CRC)] != _CRC:
        return len(data)
    with memoryview(data) as view:
        found = binascii.crc32(view[:end])
    if found != int.from_bytes(data[end + len(_CRC) :], "big"):
        raise UserError(f"{path}: damaged, its CRC-32 differs from the recorded one.")
    return end


def _values(data: mmap.mmap, end: int) -> Iterator[_Value]:
    for count, (number, wire, begin, stop) in enumerate(_fields(data, 0, end)):
        if (number, wire) != (1, _LENGTH) or count >= _MOST_VALUES:
            raise ValueError(f"field {number} of wire type {wire} where a value is expected")
        value = _value(data, begin, stop)
        if value.kind != _TEXT:
            yield value


def _value(data: mmap.mmap, start: int, end: int) -> _Value:
    tag: str | None = None
    kind: str | None = None
    shape: list[int] = []
    content = (end, end)  # protobuf omits empty content
    for number, wire, begin, stop in _fields(data, start, end):
        if (number, wire) == (1, _LENGTH) and stop - begin <= _MOST_TAG:
            tag = data[begin:stop].decode()
        elif (number, wire) == (2, _LENGTH):
            for field, inner_wire, first, last in _fields(data, begin, stop):
                if (field, inner_wire) == (1, _VARINT) and len(shape) < _MOST_AXES:
                    shape.append(_read_varint(data, first, last)[0])
                elif (field, inner_wire) == (2, _LENGTH) and last - first <= _MOST_TAG:
                    kind = data[first:last].decode()
                elif (field, inner_wire) == (3, _LENGTH):
                    content = (first, last)
                else:
                    raise ValueError(f"field {field} of wire type {inner_wire} in a tensor")
        else:
            raise ValueError(f"field {number} of wire type {wire} in a value; map parameters are not read")
    if tag is None or kind is None:
        raise ValueError("a value without name or type")
    # MindSpore writes scalars with the shape (0,) or ().
    if shape == [0] and content[1] - content[0] == itemsize(OF_MINDSPORE.get(kind, "<f4")):
        shape = []
    return _Value(tag, tuple(shape), kind, *content)


def _fields(data: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, wire type, begin, end) of each field up to ``end``; begin..end is its content."""
    while position < end:
        key, begin = _read_varint(data, position, end)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            _, position = _read_varint(data, begin, end)
        elif wire == _LENGTH:
            length, begin = _read_varint(data, begin, end)
            position = begin + length
        else:
            raise ValueError(f"wire type {wire} at byte {begin}")
        if position > end:
            raise ValueError(f"a field at byte {begin} ends beyond its message")
        yield number, wire, begin, position


def _read_varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 64, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return number, position
    raise ValueError(f"a number that does not end at byte {position}")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def _field(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _bytes(number: int, content: bytes) -> bytes:
    return _field(number, _LENGTH) + _varint(len(content)) + content
