"""The runs below a folder."""

from __future__ import annotations

from pathlib import Path

from deit.runs.directory import RunDirectory


def newest(runs_dir: Path, limit: int | None) -> list[RunDirectory]:
    """The ``limit`` newest runs below ``runs_dir``, or all of them, newest first."""
    # A run directory's name begins with its date and time.
    found = sorted(runs_dir.glob("*/*/status.json"), key=lambda path: path.parent.name, reverse=True)
    return [RunDirectory(path.parent) for path in found[:limit]]
