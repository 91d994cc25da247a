"""The choice of a prefetcher: processes if they are worth their start, else threads, or none."""

from __future__ import annotations

from deit.data.prefetch import Here, Prefetcher, Threads
from deit.data.process_prefetcher import Processes
from deit.data.rows import Rows

# Processes are worth their start if one pass takes a core so many seconds. benchmarks/input_pipeline.py has the figures: an
# image file takes about 3 ms; an image of 32 pixels in memory takes 0.12 to 0.16. Starting processes takes 0.25 core seconds.
WORTH_PROCESSES = 2.0
SECONDS_A_FILE, SECONDS_IN_MEMORY = 3e-3, 1.5e-4
THREADS, THREADS_IN_MEMORY = 8, 1  # more would wait for the GIL


def open_prefetcher(rows: Rows, batch: int, workers: int) -> Prefetcher:
    """A prefetcher with ``workers`` processes, with threads if these suffice, or without both."""
    if workers == 0:
        return Here(rows, batch)
    if pays_for_processes(rows):
        return Processes(rows, batch, workers)
    return Threads(rows, batch, min(workers, THREADS_IN_MEMORY if rows.dataset.in_memory else THREADS))


def pays_for_processes(rows: Rows) -> bool:
    """Whether one pass over the data takes long enough."""
    seconds = SECONDS_IN_MEMORY if rows.dataset.in_memory else SECONDS_A_FILE
    return len(rows.dataset) * seconds >= WORTH_PROCESSES
