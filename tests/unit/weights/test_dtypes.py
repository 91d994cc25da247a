"""Numbers of weight files as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from deit.weights.dtypes import BFLOAT16, decode, itemsize

VALUES = np.array([0, -0.0, 1, -2.5, 3.3895314e38, np.inf], np.float32)  # each exact in bfloat16


def test_bfloat16_is_the_upper_half_of_float32() -> None:
    content = (VALUES.view(np.uint32) >> 16).astype("<u2").tobytes()
    assert itemsize(BFLOAT16) == 2
    found = decode(content, BFLOAT16)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), VALUES.view(np.uint32) & 0xFFFF0000)


@pytest.mark.parametrize(("kind", "size", "read_as"), [("<f2", 2, "<f4"), ("<f4", 4, "<f4"), ("<i8", 8, "<i8")])
def test_only_half_precision_is_widened(kind: str, size: int, read_as: str) -> None:
    values = np.array([0, 1, -7, 512]).astype(kind)
    found = decode(values.tobytes(), kind)
    assert itemsize(kind) == size and found.dtype == np.dtype(read_as)
    np.testing.assert_array_equal(found, values)
