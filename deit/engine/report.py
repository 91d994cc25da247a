"""What a worker tells the control side: the journal and the status file. Rank 0 speaks, the others are mute."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from deit.runs import status
from deit.runs.directory import RunDirectory
from deit.runs.journal import Journal

REFRESH = 0.5  # seconds between two updates of the live progress


class Report:
    """Metrics, events and progress of one run."""

    def __init__(self, run: RunDirectory, status_now: status.Status) -> None:
        self._run, self._status = run, status_now
        self._journal = Journal(run.journal)
        self._next_refresh = 0.0

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        self._journal.metrics(step, metrics)

    def event(self, event: str, step: int, **details: Any) -> None:
        self._journal.event(event, step, **details)

    def checkpoint(self, step: int, path: str, best: list[str]) -> None:
        self._journal.checkpoint(step, path, best)

    def progress(self, *, now: bool = False, **values: Any) -> None:
        """Update what the live display shows; written twice a second at most, unless ``now``."""
        self._status.progress.update(values)
        if now or time.monotonic() >= self._next_refresh:
            self._next_refresh = time.monotonic() + REFRESH
            status.write(self._run, self._status)

    def results(self, results: Mapping[str, Any]) -> None:
        """Keep what the task found."""
        self._status.results = dict(results)

    def close(self) -> None:
        self._journal.close()


class Mute(Report):
    """The report of the other ranks."""

    def __init__(self) -> None:
        pass

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        pass

    def event(self, event: str, step: int, **details: Any) -> None:
        pass

    def checkpoint(self, step: int, path: str, best: list[str]) -> None:
        pass

    def progress(self, *, now: bool = False, **values: Any) -> None:
        pass

    def results(self, results: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass
