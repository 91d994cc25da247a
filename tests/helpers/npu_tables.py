"""Simulated Ascend cards: configurations, published npu-smi tables, and a stand-in that prints one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from deit.config.schema import HardwareConfig

FIRST = """\
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
_A2_CARD = """\
| {card}     910B3               | {health}            | 90.2        39                0    / 0             |
| 0                         | 0000:C{card}:00.0  | 0           0    / 0          3356 / 65536         |
+===========================+===============+====================================================+
"""


def a2(sick: int | None = None) -> str:
    """Eight cards of Atlas A2, of which ``sick`` has an alarm."""
    heading = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc3                 Version: 24.1.rc3                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
"""
    return heading + "".join(_A2_CARD.format(card=card, health="Alarm" if card == sick else "OK") for card in range(8))


A2 = a2()
A3 = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.2.1                   Version: 25.2.1                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     Ascend910           | OK            | 178.5       36                0    / 0             |
| 0     0                   | 0000:9D:00.0  | 0           0    / 0          3416 / 65536         |
+------------------------------------------------------------------------------------------------+
| 0     Ascend910           | OK            | -           36                0    / 0             |
| 1     1                   | 0000:9F:00.0  | 0           0    / 0          3195 / 65536         |
+===========================+===============+====================================================+
| 1     Ascend910           | OK            | 186.3       36                0    / 0             |
| 0     2                   | 0000:99:00.0  | 0           0    / 0          3415 / 65536         |
+------------------------------------------------------------------------------------------------+
| 1     Ascend910           | OK            | -           36                0    / 0             |
| 1     3                   | 0000:9B:00.0  | 0           0    / 0          3193 / 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 0       1                 | 632268        | python3.1                | 197                     |
+===========================+===============+====================================================+
| No running processes found in NPU 1                                                            |
+===========================+===============+====================================================+
"""


def stand_in(folder: Path, table: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npu-smi in ``folder``, first on PATH, that prints ``table``."""
    folder.mkdir(parents=True, exist_ok=True)
    tool = folder / "npu-smi"
    tool.write_text(f"#!{sys.executable}\nprint({table!r}, end='')\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return tool


def ascend(**changes: object) -> HardwareConfig:
    """A configuration for one Ascend card, with ``changes``."""
    values: dict[str, object] = {"target": "ascend", "cards": 1, "nodes": 1, "node_rank": None, "master_addr": None}
    values |= {"master_port": None, "card_ids": None, "jit": True, "cluster_timeout": 600}
    return HardwareConfig(**(values | changes))  # type: ignore[arg-type]
