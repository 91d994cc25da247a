"""What the maker of fixtures and the tests that read them share: JSON as an array, and a checksum of inputs."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np


def pack(value: Any) -> np.ndarray:
    """Anything JSON can say, as an array uint8 that fits into a fixture."""
    return np.frombuffer(json.dumps(value, separators=(",", ":")).encode(), np.uint8)


def unpack(array: np.ndarray) -> Any:
    """The value that ``pack`` was given."""
    return json.loads(array.tobytes())


def checksum(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """CRC32 of types, shapes and contents, as an array uint32 of one element.

    Inputs are not stored but computed on both sides. A fixture stores their checksum, so that inputs that drifted apart
    are not taken for a wrong result.
    """
    crc = 0
    for array in arrays:
        crc = zlib.crc32(f"{array.dtype.str}{array.shape}".encode(), crc)
        crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
    return np.array([crc], np.uint32)
