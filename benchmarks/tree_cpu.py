"""Processor time of a process and all below it, from /proc. Both sides of a comparison import it: standard library alone."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> float:
    """User and system time of this process and its living descendants."""
    times: dict[int, tuple[int, float]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            times[int(folder.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS
    found, total = [os.getpid()], 0.0
    while found:
        process = found.pop()
        total += times[process][1]
        found += [child for child, (parent, _) in times.items() if parent == process]
    return total
