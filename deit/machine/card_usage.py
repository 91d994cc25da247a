"""Cards that processes are at work on, as the drivers' own tools tell: npu-smi and nvidia-smi.

The layouts are those of published outputs; nobody has run this beside a real card yet. Where there is no tool, or
its answer is not understood, no card counts as busy.
"""

from __future__ import annotations

import re
import subprocess

_CARD = re.compile(r"^\|\s*(\d+)\s+\S*\w\S*\s*\|\s*(?:OK|Warning|Alarm|Critical|UNKNOWN)\b", re.MULTILINE)
_CHIP = re.compile(r"^\|\s*(\d+)(?:\s+(\d+))?\s*\|\s*[0-9A-Fa-f]{4}:[0-9A-Fa-f:.]+\s*\|", re.MULTILINE)
_PROCESS = re.compile(r"^\|\s*(\d+)\s+(\d+)\s*\|\s*(\d+)\s*\|\s*(\S+)\s*\|", re.MULTILINE)


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


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
