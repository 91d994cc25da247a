"""The generation of an Ascend card, which determines types, operators and overflow handling.

- ``910A``: Atlas 800 / 900 with the first Ascend 910. No bfloat16, no flash attention, float16 saturates.
- ``910B``: Atlas A2.
- ``910_93``: Atlas A3, two chips per card.

npu-smi shows the name of a board, MindSpore (CANN) that of a chip, and both append B to some chips of the first generation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from deit.machine import npu_smi

# From MindSpore's ``get_ascend_soc_version``.
_OF_SOC = {"ascend910": "910A", "ascend910b": "910B", "ascend910_93": "910_93"}
_OF_BOARD = {r"910_93\w*": "910_93", r"910B\d.*": "910B", r"910(A|PRO[AB]|PREMIUMA)": "910A"}  # 910B3, 910B2C, 910B4-1
_SMALL = 40_000  # megabytes; the first generation has 32 GB, boards with an ambiguous name have 64


def of_soc(soc: str) -> str | None:
    """The generation of MindSpore's chip name, such as ``ascend910b``; None for another chip."""
    return _OF_SOC.get(soc.lower())


def of_chip(chip: npu_smi.Chip) -> str | None:
    """The generation of a chip from the name of its board, else from its memory; None if unknown."""
    name = re.sub(r"^ascend\s*", "", chip.name, flags=re.IGNORECASE).upper()
    for pattern, generation in _OF_BOARD.items():
        if re.fullmatch(pattern, name):
            return generation
    if name not in ("910", "910B") or not (chip.chip or chip.total_mb):
        return None
    if chip.chip > 0:
        return "910_93"  # no card of another generation has a second chip
    if chip.total_mb and chip.total_mb < _SMALL:
        return "910A"
    return "910_93" if name == "910" else "910B"


def common(chips: Iterable[npu_smi.Chip]) -> str | None:
    """The generation of all ``chips``; None if they differ, if one is unknown, and without chips."""
    found = {of_chip(chip) for chip in chips}
    return found.pop() if len(found) == 1 else None
