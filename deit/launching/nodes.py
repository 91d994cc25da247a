"""Runs on several machines: their launchers communicate through the shared run directory.

Machine 0 owns the status, the journal, the checkpoints and what is sent to MLflow. Every launcher writes
``logs/node_<k>.json`` when it ends or wants all to stop, and reads the files of the others.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deit.config.schema import HardwareConfig, RunConfig
from deit.errors import UserError
from deit.files import read_json, write_json
from deit.machine import slurm
from deit.runs import status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import Outcome


@dataclass
class Word:
    """The message of a launcher."""

    node: int
    state: str  # one of deit.runs.status; RUNNING asks machine 0 to stop all
    exit_code: int
    message: str | None
    dead_rank: int | None = None
    signal: int | None = None  # received by this launcher
    start: str | None = None  # which start of the run, if Slurm counts them

    @property
    def outcome(self) -> Outcome:
        """How it ended there; the message names the machine."""
        message = self.message
        if message is not None and not message.startswith("machine "):
            message = f"machine {self.node}: {message}"
        return Outcome(self.state, self.exit_code, message)


class Machines:
    """The launchers of one run; on a single machine there are no others."""

    def __init__(self, run: RunDirectory, hardware: HardwareConfig) -> None:
        self.node, self.count, self._run = hardware.node_rank or 0, hardware.nodes, run
        self.ranks = range(self.node * hardware.cards, (self.node + 1) * hardware.cards)
        inside = slurm.allocation() if self.count > 1 else None
        self._start = inside.start if inside else None
        self._file(self.node).unlink(missing_ok=True)
        # The file may be from an earlier start, which Slurm's restart count shows.
        self._earlier = {node: read_json(self._file(node)) for node in self._others()}

    @property
    def first(self) -> bool:
        """Whether this is machine 0."""
        return self.node == 0

    def tell(self, final: status.Status, *, signal: int | None = None) -> None:
        """Report the end on this machine, or a signal that it received."""
        if self.count > 1:
            code = 0 if final.exit_code is None else final.exit_code
            dead = final.progress.get("dead_rank")
            word = Word(self.node, final.state, code, final.message, dead, signal, self._start)
            write_json(self._file(self.node), dataclasses.asdict(word))

    def heard(self) -> list[Word]:
        """The messages of the other launchers about this start of the run."""
        found = []
        for node in self._others():
            said: dict[str, Any] | None = read_json(self._file(node))
            fresh = said is not None and (said["start"] == self._start if self._start else said != self._earlier[node])
            if said and fresh:
                found.append(Word(**said))
        return found

    def _others(self) -> list[int]:
        return [node for node in range(self.count) if node != self.node]

    def _file(self, node: int) -> Path:
        return self._run.logs / f"node_{node}.json"


class Meeting:
    """Agreement of the launchers of one Slurm job step on the run directory."""

    def __init__(self, config: RunConfig) -> None:
        inside = slurm.allocation() if config.hardware.nodes > 1 else None
        self._file = Path(config.runs_dir) / f".slurm_{inside.start}.json" if inside else None
        self._patience = config.hardware.cluster_timeout
        self._first = config.hardware.node_rank == 0

    @property
    def joins(self) -> bool:
        """Whether another launcher creates the directory."""
        return self._file is not None and not self._first

    def announce(self, run: RunDirectory) -> None:
        """Publish the created directory."""
        if self._file is not None and self._first:
            write_json(self._file, str(run.path))

    def join(self) -> RunDirectory:
        """The directory that machine 0 has created. Raises UserError if none appears."""
        assert self._file is not None
        end = time.monotonic() + self._patience
        while (path := read_json(self._file)) is None:
            if time.monotonic() > end:
                raise UserError(
                    f"Machine 0 has created no run directory within hardware.cluster_timeout={self._patience} s that is "
                    f"visible here, in {self._file.parent}. Several machines need a shared folder."
                )
            time.sleep(0.2)
        return RunDirectory(path)

    def end(self) -> None:
        """Remove the note."""
        if self._file is not None and self._first:
            self._file.unlink(missing_ok=True)
