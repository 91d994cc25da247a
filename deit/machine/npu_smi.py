"""``npu-smi info``: the chips of this machine, their usage, their processes, the version of the driver.

The layouts are those of published outputs; this has not been tested on a real card. If there is no tool, or its output is not
recognised, there are no chips.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from deit.machine.command import output

_VERSION = re.compile(r"npu-smi\s+\S+\s+Version:\s*([\w.]+)")
# Each chip has two rows: number and name of its card and its health, then its own number on the card, its physical number if
# it differs, its bus, AICore use and "used / total" of its memories. Networks use the last memory (HBM on training cards).
_CARD = re.compile(
    r"^\|\s*(?P<card>\d+)\s+(?P<name>\S*\w\S*)\s*\|\s*(?P<health>OK|Warning|Alarm|Critical|UNKNOWN)\b", re.MULTILINE
)
_CHIP = re.compile(
    r"^\|\s*(?P<chip>\d+)(?:\s+(?P<number>\d+))?\s*\|\s*[0-9A-Fa-f]{4}:[0-9A-Fa-f:.]+\s*\|(?P<rest>.*)$", re.MULTILINE
)
_USE = re.compile(r"^\s*(?P<use>\d+)\s+.*?(?P<used>\d+)\s*/\s*(?P<total>\d+)\s*\|\s*$")
_PROCESS = re.compile(r"^\|\s*(\d+)\s+(\d+)\s*\|\s*(\d+)\s*\|\s*(\S+)\s*\|", re.MULTILINE)


@dataclass(frozen=True)
class Chip:
    """One device, as counted by MindSpore; some cards have two."""

    number: int  # as in the driver's device file
    card: int
    chip: int  # on its card
    name: str  # of the card, as shown by npu-smi: 910B3, or Ascend910
    health: str  # OK, Warning, Alarm, Critical or UNKNOWN
    use: int | None = None  # percent of its AI cores; this and the rest are None if the table is not recognised
    used_mb: int | None = None
    total_mb: int | None = None


def installed() -> bool:
    """Whether the driver's tool is on PATH."""
    return shutil.which("npu-smi") is not None


def table() -> str:
    """The output of ``npu-smi info``; empty if there is no such tool, or if it fails."""
    return output("npu-smi", "info", timeout=20) or ""


def chips(text: str) -> list[Chip]:
    """The chips of the table ``text``, in its order."""
    found = []
    card: re.Match[str] | None = None
    for line in text.splitlines():
        if row := _CARD.match(line):
            card = row
        elif card and (row := _CHIP.match(line)):
            use = _USE.match(row["rest"])
            numbers = (int(use[name]) for name in ("use", "used", "total")) if use else ()
            number = int(row["number"] or card["card"])
            found.append(Chip(number, int(card["card"]), int(row["chip"]), card["name"], card["health"], *numbers))
    return found


def processes(text: str) -> dict[int, str]:
    """Number of a chip -> a process that uses it. A process row has card and chip, not the number."""
    numbers = {(chip.card, chip.chip): chip.number for chip in chips(text)}
    return {
        numbers.get((int(row[1]), int(row[2])), int(row[1])): f"process {row[3]} ({row[4]})" for row in _PROCESS.finditer(text)
    }


def driver_version(text: str) -> str | None:
    """The version in the table's heading, such as 24.1.rc3."""
    found = _VERSION.search(text)
    return found[1] if found else None
