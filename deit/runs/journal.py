"""The journal: an append-only file of JSON lines, the source of truth about a run.

Kinds of records (each has ``time``, Unix milliseconds):

    {"kind": "metrics", "time": ..., "step": 120, "metrics": {"train/loss": 2.1, ...}}
    {"kind": "checkpoint", "time": ..., "step": 120, "path": "checkpoints/step_00000120", "best": ["val"]}
    {"kind": "event", "time": ..., "step": 120, "event": "resumed", ...}

``step`` counts optimizer steps from 0. A metric of a step is written once, also after a resume: the writer reads from the file
what it already contains. A full disk loses no record: they wait in memory until there is space.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from deit.errors import UserError
from deit.runs.directory import DISK_FULL


def now_ms() -> int:
    """Unix time in milliseconds, the unit of MLflow."""
    return time.time_ns() // 1_000_000


class Journal:
    """The writer. Only one process has it open: rank 0 of the run."""

    def __init__(self, path: Path) -> None:
        """Open for appending; the partial last line of a killed writer is removed. Raises UserError if it is damaged."""
        self._written: dict[str, int] = {}
        self.last_checkpoint = -1  # step of the newest recorded one
        self._waiting = b""  # not yet written because the disk was full
        end = 0
        if path.exists():
            for offset, record in read(path):
                end = offset
                for name in record.get("metrics", ()):
                    self._written[name] = max(self._written.get(name, -1), record["step"])
                if record["kind"] == "checkpoint":
                    self.last_checkpoint = max(self.last_checkpoint, record["step"])
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115  # open as long as the run
        if end < self._file.tell():
            self._file.truncate(end)
            self._file.seek(0, os.SEEK_END)

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics of a step, except those already recorded at this or a later step."""
        fresh = {name: float(value) for name, value in metrics.items() if step > self._written.get(name, -1)}
        if fresh:
            self._written.update(dict.fromkeys(fresh, step))
            self._append({"kind": "metrics", "time": now_ms(), "step": step, "metrics": fresh})

    def event(self, event: str, step: int, **details: Any) -> None:
        """Record an event, such as ``resumed``."""
        self._append({"kind": "event", "time": now_ms(), "step": step, "event": event, **details})

    def checkpoint(self, step: int, path: str, best: list[str]) -> None:
        """Record a complete checkpoint; ``best`` lists the weights (val, val_ema) for which it is the best."""
        self.last_checkpoint = max(self.last_checkpoint, step)
        self._append({"kind": "checkpoint", "time": now_ms(), "step": step, "path": path, "best": best})

    def _append(self, record: dict[str, Any]) -> None:
        # JSON has no nan or inf, so they are written as strings.
        self._waiting += json.dumps(_words(record)).encode() + b"\n"
        try:
            self.flush()
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise

    def flush(self) -> None:
        """Write what a full disk has not taken so far. Raises OSError if it is still full."""
        # It may take half a line: the next attempt continues after it, and readers ignore half a line.
        while self._waiting:
            self._waiting = self._waiting[self._file.write(self._waiting) :]

    def sync(self) -> None:
        """Make what is written survive a power failure."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write and sync the rest. Raises OSError if the disk is still full."""
        try:
            self.flush()
            self.sync()
        finally:
            self._file.close()


def _words(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _words(item) for key, item in value.items()}
    return value


def read(path: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (offset after the record, record) for each complete record from ``offset`` on.

    An unfinished last line is not a record yet. Metrics written as strings (nan, inf) become floats. Raises UserError at a
    damaged line.
    """
    if not path.exists():
        return
    with open(path, "rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                record = _record(line)
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                raise UserError(f"{path}: damaged at byte {offset} ({error}); without that line it can be read.") from None
            offset += len(line)
            yield offset, record


def _record(line: bytes) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line)
    if type(record.get("time")) is not int or type(record.get("step")) is not int or not isinstance(record.get("kind"), str):
        raise ValueError("not a journal record")
    if "metrics" in record:
        record["metrics"] = {name: float(value) for name, value in record["metrics"].items()}
    return record


def latest(path: Path, names: Collection[str]) -> dict[str, float]:
    """The newest value of each of these metrics, without those never recorded."""
    found: dict[str, float] = {}
    for _, record in read(path):
        found.update({name: value for name, value in record.get("metrics", {}).items() if name in names})
    return found
