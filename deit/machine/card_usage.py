"""Which processes use a card, and how much, read from npu-smi and nvidia-smi.

If there is no tool, or its output is not recognised, no card counts as busy.
"""

from __future__ import annotations

from deit.machine import npu_smi
from deit.machine.command import output


def busy(target: str) -> dict[int, str]:
    """Card number (as in the driver's device file) -> a process that uses it; empty on the CPU."""
    if target == "ascend":
        return npu_smi.processes(npu_smi.table())
    if target == "gpu":
        queries = ("--query-gpu=index,uuid", "--query-compute-apps=gpu_uuid,pid,process_name")
        form = "--format=csv,noheader"
        return parse_nvidia_smi(*(output("nvidia-smi", query, form, timeout=20, check=False) or "" for query in queries))
    return {}


def parse_nvidia_smi(cards: str, processes: str) -> dict[int, str]:
    """From the two queries: index and uuid of each card, uuid and process of each use."""
    index = {uuid: int(number) for number, uuid in (line.split(", ") for line in cards.splitlines() if line.count(", ") == 1)}
    rows = (line.split(", ", 2) for line in processes.splitlines())
    return {index[row[0]]: f"process {row[1]} ({row[2]})" for row in rows if len(row) == 3 and row[0] in index}


def use() -> dict[str, float]:
    """The current use of this machine's Ascend cards, named as in ``parse_use``; empty if npu-smi is missing or fails."""
    return metrics(npu_smi.chips(npu_smi.table()))


def metrics(chips: list[npu_smi.Chip]) -> dict[str, float]:
    """Utilisation (percent) and memory (megabytes, percent) of each chip, under MLflow's names for devices.

    ``{"npu_0_utilization_percentage": 87.0, "npu_0_memory_usage_megabytes": 30124.0, ...}``
    """
    found = {}
    known = [chip for chip in chips if chip.use is not None]
    for number, chip in enumerate(known):
        assert chip.use is not None and chip.used_mb is not None and chip.total_mb is not None  # all or none of them
        found[f"npu_{number}_utilization_percentage"] = float(chip.use)
        found[f"npu_{number}_memory_usage_megabytes"] = float(chip.used_mb)
        if chip.total_mb:
            found[f"npu_{number}_memory_usage_percentage"] = round(100 * chip.used_mb / chip.total_mb, 1)
    return found
