"""One trial of a sweep: its definition, its run and its outcome."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from deit.config import frozen
from deit.config.schema import RunConfig
from deit.runs import journal, status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import FINISHED
from deit.text import label

WAITING, RUNNING, PRUNED = "waiting", "running", "pruned"  # besides the states of a run that has ended
DONE = (FINISHED, PRUNED)  # complete
# Groups and keys that do not affect a trial's results: the rest of the configuration is its identity.
CIRCUMSTANCES = ("sweep", "tracking", "runs_dir", "dry_run", "resume")


@dataclass
class Attempt:
    """One start of a trial. Times are Unix seconds."""

    began: float
    cards: list[int]  # on its machine; slots on the CPU
    ended: float | None = None
    exit_code: int | None = None
    failed: bool = False  # False if a person, the sweep or a batch system stopped it


@dataclass
class Trial:
    """A trial, one line of ``trials.jsonl``. ``cards`` is how many it uses at a time."""

    number: int
    overrides: list[str]  # as typed, without Hydra's own
    swept: dict[str, str]  # the overrides that distinguish it from other trials
    run: str  # its run directory
    identity: str
    cards: int
    state: str = WAITING
    message: str | None = None  # why it failed, was pruned or interrupted
    objectives: list[float] | None = None  # the values of sweep.objectives, once finished or pruned
    attempts: list[Attempt] = field(default_factory=list)
    length: float = 0.0  # expected duration without unit, for comparisons only (``deit.recipe.plan.expected_length``)

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.run)

    @property
    def label(self) -> str:
        """A short name from its swept values."""
        return label(self.swept)

    def __str__(self) -> str:
        return f"trial {self.number} ({self.label or ' '.join(self.overrides) or 'as configured'})"

    def read_objectives(self, names: Sequence[str]) -> None:
        """Read the values of the objectives from the journal of its run; unchanged if one is missing."""
        found = journal.latest(self.directory.journal, names)
        if set(found) == set(names):
            self.objectives = [found[name] for name in names]

    def wait_again(self) -> None:
        """Prepare it for another start; until then its run must not look ended."""
        self.state = WAITING
        status.write(self.directory, status.Status())

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Trial:
        return cls(**{**values, "attempts": [Attempt(**attempt) for attempt in values["attempts"]]})


def what_differs(config: RunConfig) -> dict[str, Any]:
    """The configuration without ``CIRCUMSTANCES``."""
    return {key: value for key, value in frozen.to_dict(config).items() if key not in CIRCUMSTANCES}


def identity(config: RunConfig) -> str:
    """SHA-256 of all that affects a trial's results: trials with the same identity would do the same work."""
    return hashlib.sha256(json.dumps(what_differs(config), sort_keys=True).encode()).hexdigest()


def swept(trials: list[list[str]]) -> list[dict[str, str]]:
    """For each trial the overrides that distinguish it, as key and value: keys that every trial has with different values.

    The overrides of a case are represented by its name.
    """
    pairs = [dict(text.split("=", 1) for text in overrides) for overrides in trials]
    keys = [key for key in (pairs[0] if pairs else ()) if all(key in given for given in pairs)]
    apart = [key for key in keys if len({given[key] for given in pairs}) > 1]
    return [{key: given[key] for key in apart} for given in pairs]
