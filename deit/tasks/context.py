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


@dataclass
class Context:
    """One run on one rank."""

    run: RunDirectory
    config: RunConfig
    report: Report
    rank: int = 0
    world: int = 1
    stop_signals: list[int] = field(default_factory=list)  # filled by the signal handler of rank 0
