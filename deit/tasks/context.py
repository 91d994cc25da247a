"""What a task gets from the worker."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from deit.config.schema import RunConfig
from deit.engine.report import Report
from deit.runs.directory import RunDirectory


class Interrupted(Exception):
    """The run was asked to stop and has written its checkpoint."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


class StopRequested(Exception):
    """Raised on rank 0 in the middle of an evaluation, when a signal has come."""


@dataclass
class Context:
    """One run on one rank."""

    run: RunDirectory
    config: RunConfig
    report: Report
    rank: int = 0
    world: int = 1
    stop_signals: list[int] = field(default_factory=list)  # filled by the signal handler of rank 0

    def evaluated(self, images: int) -> None:
        """Told by an evaluation how many images it has done. Raises StopRequested after a signal."""
        self.report.progress(evaluated=images)
        if self.stop_signals:
            raise StopRequested
