"""The tables of npu-smi, as published: what each card does."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from deit.machine import card_usage

_NPU_SMI = """\
+--------------------------------------------------------------------------------------------------------+
| npu-smi 23.0.0                                   Version: 23.0.0                                       |
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
| 0       910B                  | OK              | 88.2         52                0    / 0              |
| 0       0                     | 0000:C1:00.0    | 87           2610 / 15038      30124/ 32768          |
+===============================+=================+======================================================+
| 1       910B                  | OK              | 70.1         45                0    / 0              |
| 0                             | 0000:81:00.0    | 0            1    / 15038      1    / 32768          |
+===============================+=================+======================================================+
"""


def test_the_table_of_npu_smi() -> None:
    assert card_usage.parse_use(_NPU_SMI) == {
        "npu_0_utilization_percentage": 87.0,
        "npu_0_memory_usage_megabytes": 30124.0,
        "npu_0_memory_usage_percentage": 91.9,
        "npu_1_utilization_percentage": 0.0,
        "npu_1_memory_usage_megabytes": 1.0,
        "npu_1_memory_usage_percentage": 0.0,
    }
    assert card_usage.parse_use("no cards") == {}


def test_cards_are_read_from_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "npu-smi"
    tool.write_text(f"#!{sys.executable}\nprint({json.dumps(_NPU_SMI)})\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert card_usage.use()["npu_0_utilization_percentage"] == 87.0
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert card_usage.use() == {}
