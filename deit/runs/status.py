"""The state of a run: one small JSON file, replaced atomically.

While a run works, rank 0 owns the file and updates it about twice a second (progress and heartbeat). After all workers have
ended, the control side owns it and sets the final state if rank 0 could not.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from deit.files import read_json, write_json
from deit.runs.directory import RunDirectory
from deit.runs.outcome import ENDED, FINISHED, Outcome, of_error

CREATED, RUNNING = "created", "running"  # the states of a run that has not ended


@dataclass
class Status:
    """``progress`` is for the live display; ``results`` are those of the task."""

    state: str = CREATED
    message: str | None = None  # why it failed, for people
    exit_code: int | None = None
    launcher_pid: int | None = None
    worker_pid: int | None = None
    updated: float = 0.0  # Unix seconds
    released: bool = False  # all its processes have ended: its cards are free
    progress: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def outcome(self) -> Outcome | None:
        """How the run ended; None before that."""
        return Outcome(self.state, 1 if self.exit_code is None else self.exit_code, self.message) if self.ended else None

    @outcome.setter
    def outcome(self, outcome: Outcome) -> None:
        self.state, self.exit_code, self.message = outcome.state, outcome.exit_code, outcome.message


def read(run: RunDirectory) -> Status:
    """The status on disk; a new one if it is missing or unreadable."""
    try:
        values = read_json(run.status)
    except ValueError:  # it is not synced during a run, so a power failure may leave anything
        values = None
    values = values if isinstance(values, dict) else {}
    known = {f.name for f in dataclasses.fields(Status)}
    return Status(**{name: value for name, value in values.items() if name in known})


def finished(run: RunDirectory) -> bool:
    """Whether the run has ended with success."""
    return read(run).state == FINISHED


def end(run: RunDirectory, status: Status, outcome: Outcome) -> int:
    """Record the end of a run that has no process left; returns the exit code."""
    status.outcome, status.released = outcome, True
    write(run, status)
    return outcome.exit_code


@contextmanager
def failure_recorded(run: RunDirectory, status: Status) -> Iterator[None]:
    """An error in the block ends the run as failed before it propagates."""
    try:
        yield
    except Exception as error:
        end(run, status, of_error(error))
        raise


def write(run: RunDirectory, status: Status, *, updated: float | None = None) -> None:
    """Replace the status on disk, with the time ``updated`` (default: now). Only a final state is synced."""
    status.updated = time.time() if updated is None else updated
    write_json(run.status, dataclasses.asdict(status), durable=status.ended)
