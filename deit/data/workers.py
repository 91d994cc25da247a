"""The number of workers that read and augment the images of one card, if ``data.workers`` is null."""

from __future__ import annotations

import os
from pathlib import Path

from deit.config.schema import DataConfig

MOST = 24  # per card: more than any recipe here needs (docs/performance.md), because each takes memory
CGROUP = Path("/sys/fs/cgroup/cpu.max")


def workers_of(data: DataConfig, cards: int) -> int:
    """``data.workers``, or this machine's CPU cores divided by the number of ``cards``."""
    if data.workers is not None:
        return data.workers
    return max(1, min(MOST, processors() // cards))


def processors() -> int:
    """The number of CPU cores that this process may use, including affinity and container quotas."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = CGROUP.read_text().split()
        return allowed if quota == "max" else max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):
        return allowed
