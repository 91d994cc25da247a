"""Published tables of npu-smi: the use of each card."""

from __future__ import annotations

from pathlib import Path

import pytest
from npu_tables import FIRST, stand_in

from deit.machine import card_usage, npu_smi


def test_the_table_of_npu_smi() -> None:
    assert card_usage.metrics(npu_smi.chips(FIRST)) == {
        "npu_0_utilization_percentage": 87.0,
        "npu_0_memory_usage_megabytes": 30124.0,
        "npu_0_memory_usage_percentage": 91.9,
        "npu_1_utilization_percentage": 0.0,
        "npu_1_memory_usage_megabytes": 1.0,
        "npu_1_memory_usage_percentage": 0.0,
    }
    assert card_usage.metrics(npu_smi.chips("no cards")) == {}


def test_cards_are_read_from_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = stand_in(tmp_path, FIRST, monkeypatch)
    assert card_usage.use()["npu_0_utilization_percentage"] == 87.0
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert card_usage.use() == {}
