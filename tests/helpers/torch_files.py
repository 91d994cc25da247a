"""Files in torch.save's format written by hand, so that they can contain what torch never writes."""

from __future__ import annotations

import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    encoded = pickle.encode_long(value)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(
    *, numel: int = 6, offset: int = 0, shape: tuple[int, ...] = (2, 3), stride: tuple[int, ...] = (3, 1), key: str = "0"
) -> bytes:
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(numel) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    arguments = storage + number(offset) + numbers(shape) + numbers(stride) + b"\x89" + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def state(*items: bytes) -> bytes:
    """A pickled dict {"a": item, "b": ...}."""
    pairs = b"".join(text(chr(97 + i)) + item for i, item in enumerate(items))
    return b"\x80\x02}(" + pairs + b"u."


def archive(path: Path, described: bytes, compression: int = zipfile.ZIP_STORED, **storages: bytes) -> Path:
    """A file as torch.save writes it: the pickle, and its storages (by default six numbers as ``_0``)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a doubled member
        with zipfile.ZipFile(path, "w", compression) as file:
            file.writestr("archive/data.pkl", described)
            for name, content in (storages or {"_0": np.arange(6, dtype=np.float32).tobytes()}).items():
                file.writestr(f"archive/data/{name[1:]}", content)
    return path
