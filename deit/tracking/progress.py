"""How much of a run has been sent to a store: a file for each store in ``tracking/`` of the run directory.

Written after each thing MLflow accepted. A shipper that was killed repeats at most the last one, and MLflow stores a repeated
point once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deit.errors import UserError
from deit.files import read_json, write_json
from deit.machine import locks
from deit.runs import status
from deit.runs.directory import RunDirectory
from deit.tracking import records

_READABLE = 40  # characters of a store's name in the name of its file


@dataclass
class Progress:
    """``offsets`` counts bytes sent of each journal; ``artifacts`` maps a sent file to its size and time.

    ``closed`` is the end of the run, as from ``ending``, when all was sent. ``refused`` maps refused files to the reason,
    ``failing`` counts responses of 500 in a row to artifacts; ``trouble`` is why MLflow accepts nothing at present, ``note``
    the SHA-256 of the written description.
    """

    server: str  # store.identity
    experiment_id: str | None = None
    run_id: str | None = None
    offsets: dict[str, int] = field(default_factory=lambda: {"journal": 0, "system": 0})
    artifacts: dict[str, list[int]] = field(default_factory=dict)
    closed: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    failing: int = 0
    trouble: str | None = None
    note: str | None = None


def path(run: RunDirectory, server: str) -> Path:
    """The file of the progress at ``server``, the ``store.identity`` of a URI."""
    readable = re.sub(r"\W+", "_", server.partition("://")[2]).strip("_")[-_READABLE:]
    return run.tracking / f"{readable}_{hashlib.sha256(server.encode()).hexdigest()[:8]}.json"


def read(run: RunDirectory, server: str) -> Progress:
    """The progress on disk; nothing sent if there is none."""
    values: dict[str, Any] | None = read_json(path(run, server))
    return Progress(**values) if values else Progress(server)


def write(run: RunDirectory, progress: Progress) -> None:
    """Replace the progress on disk."""
    write_json(path(run, progress.server), dataclasses.asdict(progress))


def ending(now: status.Status) -> str:
    """The end of a run as sent to MLflow; if it changes, it must be sent again."""
    return f"{now.state}: {now.message}" if now.message else now.state


def complete(run: RunDirectory, server: str) -> bool:
    """Whether the run has ended and ``server`` has all of it, according to the run directory."""
    now, done = status.read(run), read(run, server)
    journals = (run.journal, done.offsets["journal"]), (run.system_journal, done.offsets["system"])
    try:
        return now.ended and done.closed == ending(now) and not any(any(records.batches(*journal)) for journal in journals)
    except UserError:  # after a damaged line
        return False


def refusal(refused: Mapping[str, str]) -> str:
    """One line on the artifacts that MLflow refuses."""
    count = "an artifact" if len(refused) == 1 else f"{len(refused)} artifacts"
    return f"MLflow has all metrics but refuses {count}: {next(iter(refused.values()))}. The run directory keeps them."


def turn(run: RunDirectory, server: str, goes_on: Callable[[], bool] = lambda: False) -> AbstractContextManager[bool]:
    """Lock the shipping of the run to ``server``: one process at a time. False if ``goes_on`` ended the wait for it."""
    return locks.turn(path(run, server).with_suffix(".lock"), goes_on)
