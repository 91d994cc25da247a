"""Safetensors files are checked by their header before anything is allocated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from deit.errors import UserError
from deit.weights.read import MOST_HEADER, read_shapes, read_weights


def test_safetensors_header_is_checked_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    huge = (MOST_HEADER + 1).to_bytes(8, "little")
    cases = {
        b"": "header would end beyond the file",
        (1 << 62).to_bytes(8, "little") + b"{}": "header would end beyond the file",
        huge + b" " * (MOST_HEADER + 1): "its header has",
        b"\x02" + b"\0" * 7 + b"[]": "truncated or not a safetensors file",
    }
    for content, said in cases.items():
        path.write_bytes(content)
        for read in (read_shapes, read_weights):
            with pytest.raises(UserError, match=said):
                read(path)
    save_file({"w": np.ones(3, np.float32)}, path)
    assert read_shapes(path)[0] == {"w": (3,)}
    with open(path, "r+b") as file:
        file.truncate(1 << 40)  # a hole, which no disk need hold
    for read in (read_shapes, read_weights):
        with pytest.raises(UserError, match="bytes are more than"):
            read(path)
