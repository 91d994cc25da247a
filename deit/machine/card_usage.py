"""Which processes use a card, and how much, read from the drivers' own tools: npu-smi and nvidia-smi.

The layouts are those of published outputs; nobody has run this beside a real card yet. Where there is no tool, or
its answer is not understood, no card counts as busy.
"""

from __future__ import annotations

import re
import shutil
import subprocess

_CARD = re.compile(r"^\|\s*(\d+)\s+\S*\w\S*\s*\|\s*(?:OK|Warning|Alarm|Critical|UNKNOWN)\b", re.MULTILINE)
_CHIP = re.compile(r"^\|\s*(\d+)(?:\s+(\d+))?\s*\|\s*[0-9A-Fa-f]{4}:[0-9A-Fa-f:.]+\s*\|", re.MULTILINE)
_PROCESS = re.compile(r"^\|\s*(\d+)\s+(\d+)\s*\|\s*(\d+)\s*\|\s*(\S+)\s*\|", re.MULTILINE)
# Each chip has two rows: number and name of the card, then bus, AICore use and "used / total" of its memories,
# of which the last is the one networks live in (HBM on training cards).
_USE = re.compile(
    r"^\|\s*\d+(?:\s+\d+)?\s*\|\s*[0-9A-Fa-f]{4}:[0-9A-Fa-f:.]+\s*\|\s*(?P<use>\d+)\s+.*?(?P<used>\d+)\s*/\s*(?P<total>\d+)\s*\|\s*$",
    re.MULTILINE,
)


def busy(target: str) -> dict[int, str]:
    """Card number (as in the driver's device file) -> a process that uses it; empty on the CPU."""
    if target == "ascend":
        return parse_npu_smi(_ask("npu-smi", "info"))
    if target == "gpu":
        cards = _ask("nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader")
        return parse_nvidia_smi(
            cards, _ask("nvidia-smi", "--query-compute-apps=gpu_uuid,pid,process_name", "--format=csv,noheader")
        )
    return {}


def parse_npu_smi(table: str) -> dict[int, str]:
    """From ``npu-smi info``: a process row names card and chip, a chip row the physical number where it differs."""
    numbers: dict[tuple[int, int], int] = {}
    card = -1
    for line in table.splitlines():
        if found := _CARD.match(line):
            card = int(found[1])
        elif found := _CHIP.match(line):
            numbers[card, int(found[1])] = int(found[2]) if found[2] else card
    return {
        numbers.get((int(row[1]), int(row[2])), int(row[1])): f"process {row[3]} ({row[4]})" for row in _PROCESS.finditer(table)
    }


def parse_nvidia_smi(cards: str, processes: str) -> dict[int, str]:
    """From the two queries: index and uuid of each card, uuid and process of each use."""
    index = {uuid: int(number) for number, uuid in (line.split(", ") for line in cards.splitlines() if line.count(", ") == 1)}
    rows = (line.split(", ", 2) for line in processes.splitlines())
    return {index[row[0]]: f"process {row[1]} ({row[2]})" for row in rows if len(row) == 3 and row[0] in index}


def use() -> dict[str, float]:
    """The present use of this machine's Ascend cards, named as in ``parse_use``; empty without npu-smi, or where it fails."""
    return parse_use(_ask("npu-smi", "info")) if shutil.which("npu-smi") else {}


def parse_use(table: str) -> dict[str, float]:
    """Utilisation (percent) and memory (megabytes, percent) of each chip, under MLflow's names for devices.

    ``{"npu_0_utilization_percentage": 87.0, "npu_0_memory_usage_megabytes": 30124.0, ...}``
    """
    metrics = {}
    for number, chip in enumerate(_USE.finditer(table)):
        used, total = float(chip["used"]), float(chip["total"])
        metrics[f"npu_{number}_utilization_percentage"] = float(chip["use"])
        metrics[f"npu_{number}_memory_usage_megabytes"] = used
        if total:
            metrics[f"npu_{number}_memory_usage_percentage"] = round(100 * used / total, 1)
    return metrics


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
