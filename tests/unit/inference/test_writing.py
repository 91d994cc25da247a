"""Files of predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from deit.inference.writing import open_writer


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_nan_is_written_as_valid_json(tmp_path: Path) -> None:
    with open_writer(tmp_path / "p.jsonl", ["a", "b"], 5, labelled=False) as writer:
        writer.line("x", None, writer.top(np.array([[np.nan, 0]], np.float32))[0])
    assert [top["probability"] for top in lines(tmp_path / "p.jsonl")[0]["top"]] == [None, None]
