"""Use of Ascend cards, read from the table that ``npu-smi info`` prints.

Written from memory of the tool's layout, without a card at hand; it has never met one.
"""

from __future__ import annotations

import re
import shutil
import subprocess

# Each chip has two rows: number and name of the card, then bus, AICore use and "used / total" of its memories,
# of which the last is the one networks live in (HBM on training cards).
_CHIP = re.compile(
    r"^\|\s*\d+(?:\s+\d+)?\s*\|\s*[0-9A-Fa-f]{4}:[0-9A-Fa-f:.]+\s*\|\s*(?P<use>\d+)\s+.*?(?P<used>\d+)\s*/\s*(?P<total>\d+)\s*\|\s*$",
    re.MULTILINE,
)


def installed() -> bool:
    """Whether this machine has the tool."""
    return shutil.which("npu-smi") is not None


def read_cards() -> dict[str, float]:
    """The present use of every card of this machine; empty where the tool fails."""
    try:
        done = subprocess.run(["npu-smi", "info"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse(done.stdout)


def parse(table: str) -> dict[str, float]:
    """Utilisation (percent) and memory (megabytes, percent) of each chip, under MLflow's names for devices.

    ``{"npu_0_utilization_percentage": 87.0, "npu_0_memory_usage_megabytes": 30124.0, ...}``
    """
    metrics = {}
    for number, chip in enumerate(_CHIP.finditer(table)):
        used, total = float(chip["used"]), float(chip["total"])
        metrics[f"npu_{number}_utilization_percentage"] = float(chip["use"])
        metrics[f"npu_{number}_memory_usage_megabytes"] = used
        if total:
            metrics[f"npu_{number}_memory_usage_percentage"] = round(100 * used / total, 1)
    return metrics
