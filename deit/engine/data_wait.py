"""Warns once if the training keeps waiting for images, and suggests what to do."""

from __future__ import annotations

import time
from collections.abc import Callable

from deit.config.schema import RunConfig
from deit.data.workers import processors, workers_of
from deit.engine.recorder import Report

SHARE = 0.05  # of the time; more causes the warning
LASTING = 60.0  # seconds: the first batches, and those after an evaluation, are always waited for


class DataWait:
    """Watches ``perf/data_wait``."""

    def __init__(self, config: RunConfig, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._report, self._clock = config, report, clock
        self._since: float | None = None  # since when it has been above SHARE
        self._warned = False

    def look(self, step: int, share: float) -> None:
        """``share`` of the time since the last call was spent waiting; ``step`` optimizer steps are done."""
        if share <= SHARE:
            self._since = None
            return
        now = self._clock()
        self._since = now if self._since is None else self._since
        if not self._warned and now - self._since >= LASTING:
            self._warned = True
            message = f"the training waits for images {100 * share:.0f} % of its time: {self._remedy()} (docs/performance.md)"
            self._report.warn("data_wait", step, message, share=share)

    def _remedy(self) -> str:
        workers = workers_of(self._config.data, self._config.hardware.cards)
        share = processors() // self._config.hardware.cards
        if workers < share:
            return f"data.workers is {workers}, but each card has {share} CPU cores; raise it"
        busy = f"all {share} CPU cores of a card read images (data.workers={workers})"
        faster = "augment.backend=opencv is faster than pil; else " if self._config.augment.backend == "pil" else ""
        return f"{busy}; {faster}give the job more CPU cores, or smaller images; if the disk is slow, task=pack helps"
