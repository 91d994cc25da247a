"""The state of a run: one small JSON file, replaced as a whole.

While a run works, rank 0 owns the file and refreshes it about twice a second (progress and heartbeat).
When all workers are gone the control side owns it: it sets the final state if rank 0 could not.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

from deit.runs.directory import RunDirectory, read_json, write_json

CREATED, RUNNING, FINISHED, FAILED, INTERRUPTED = "created", "running", "finished", "failed", "interrupted"
ENDED = (FINISHED, FAILED, INTERRUPTED)


@dataclass
class Status:
    """``progress`` holds what the live display shows; ``results`` what the task found."""

    state: str = CREATED
    message: str | None = None  # why it failed, for people
    exit_code: int | None = None
    launcher_pid: int | None = None
    worker_pid: int | None = None
    updated: float = 0.0  # Unix seconds
    progress: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def read(run: RunDirectory) -> Status:
    """The status on disk; a new one where there is none."""
    values = read_json(run.status) or {}
    known = {f.name for f in dataclasses.fields(Status)}
    return Status(**{name: value for name, value in values.items() if name in known})


def write(run: RunDirectory, status: Status) -> None:
    """Replace the status on disk. Only an ended state is worth an fsync."""
    status.updated = time.time()
    write_json(run.status, dataclasses.asdict(status), durable=status.ended)
