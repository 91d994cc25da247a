"""How far the shipping of a run has come: ``tracking/state.json`` of the run directory.

Written after each thing MLflow accepted. A shipper that was killed repeats at most the last one, and MLflow
stores a repeated point once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from deit.runs.directory import RunDirectory, read_json, write_json


@dataclass
class Progress:
    """``offsets`` counts bytes sent of each journal; ``artifacts`` maps a sent file to its size and time."""

    experiment_id: str | None = None
    run_id: str | None = None
    offsets: dict[str, int] = field(default_factory=lambda: {"journal": 0, "system": 0})
    artifacts: dict[str, list[int]] = field(default_factory=dict)


def read(run: RunDirectory) -> Progress:
    """The progress on disk; nothing sent where there is none."""
    values: dict[str, Any] | None = read_json(run.tracking / "state.json")
    return Progress(**values) if values else Progress()


def write(run: RunDirectory, progress: Progress) -> None:
    """Replace the progress on disk."""
    write_json(run.tracking / "state.json", dataclasses.asdict(progress))
