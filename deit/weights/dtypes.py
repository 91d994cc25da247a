"""Number types of weight files.

NumPy has no bfloat16, and nothing here computes in float16: both become float32, which represents all their values exactly.
"""

from __future__ import annotations

import numpy as np

BFLOAT16 = "bfloat16"
Kind = str  # a little-endian NumPy type such as "<f4", or BFLOAT16


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
