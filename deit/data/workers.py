"""How many workers read and augment the images of one card, where ``data.workers`` does not say."""

from __future__ import annotations

import os
from pathlib import Path

from deit.config.schema import DataConfig

MOST = 24  # of a card: more than any recipe here needs (docs/performance.md), each with some memory of its own
CGROUP = Path("/sys/fs/cgroup/cpu.max")


def workers_of(data: DataConfig, cards: int) -> int:
    """``data.workers``, or this machine's processors shared among the ``cards`` that it has."""
    if data.workers is not None:
        return data.workers
    return max(1, min(MOST, processors() // cards))


def processors() -> int:
    """How many processors this process may use: those of the machine, less where an affinity or a container's quota says so."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = CGROUP.read_text().split()
        return allowed if quota == "max" else max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):
        return allowed
