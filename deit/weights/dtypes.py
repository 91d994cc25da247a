"""Number types of weight files.

NumPy has no bfloat16, and nothing here computes in float16: both become float32, which represents all their values exactly.
"""

from __future__ import annotations

import numpy as np

BFLOAT16 = "bfloat16"
Kind = str  # a little-endian NumPy type such as "<f4", or BFLOAT16

# Each with its name in safetensors, torch and MindSpore.
_NAMES: tuple[tuple[Kind, str, str, str], ...] = (
    ("<f8", "F64", "Double", "Float64"),
    ("<f4", "F32", "Float", "Float32"),
    ("<f2", "F16", "Half", "Float16"),
    (BFLOAT16, "BF16", "BFloat16", "BFloat16"),
    ("<i8", "I64", "Long", "Int64"),
    ("<i4", "I32", "Int", "Int32"),
    ("<i2", "I16", "Short", "Int16"),
    ("<i1", "I8", "Char", "Int8"),
    ("<u1", "U8", "Byte", "UInt8"),
    ("?", "BOOL", "Bool", "Bool"),
)
OF_SAFETENSORS, OF_TORCH, OF_MINDSPORE = ({names[column]: names[0] for names in _NAMES} for column in (1, 2, 3))


def itemsize(kind: Kind) -> int:
    """Bytes of one number in a file."""
    return 2 if kind == BFLOAT16 else np.dtype(kind).itemsize


def decode(content: bytes | bytearray | memoryview, kind: Kind) -> np.ndarray:
    """The numbers in ``content``, one-dimensional; float16 and bfloat16 as float32."""
    if kind == BFLOAT16:
        # A bfloat16 is the upper half of a float32.
        return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    values = np.frombuffer(content, kind)
    return values.astype(np.float32) if kind == "<f2" else values
