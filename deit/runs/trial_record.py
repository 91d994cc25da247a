"""One trial of a sweep: what it is, where its run stands, and what has become of it."""

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
from deit.text import label

WAITING, RUNNING, FINISHED, FAILED, PRUNED, INTERRUPTED = (
    "waiting",
    "running",
    "finished",
    "failed",
    "pruned",
    "interrupted",
)
DONE = (FINISHED, PRUNED)  # nothing is left to do

# What does not change what a trial finds out: the rest of the configuration is its identity.
CIRCUMSTANCES = ("sweep", "tracking", "runs_dir", "dry_run", "resume")


@dataclass
class Attempt:
    """One start of a trial. Times are Unix seconds."""

    began: float
    cards: list[int]  # of its machine; slots on the CPU
    ended: float | None = None
    exit_code: int | None = None
    failed: bool = False  # not so where a person, the sweep or a batch system stopped it


@dataclass
class Trial:
    """A trial as ``trials.jsonl`` keeps it, one line each. ``cards`` is how many it takes at a time."""

    number: int
    overrides: list[str]  # as typed, without Hydra's own
    swept: dict[str, str]  # the overrides that tell it apart from other trials
    run: str  # its run directory
    identity: str
    cards: int
    state: str = WAITING
    message: str | None = None  # why it failed, was pruned or interrupted
    objectives: list[float] | None = None  # the values of sweep.objectives, once finished or pruned
    attempts: list[Attempt] = field(default_factory=list)
    length: float = 0.0  # expected, in no unit: only to be compared (``deit.recipe.plan.expected_length``)

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.run)

    @property
    def label(self) -> str:
        """What tells it apart, short enough for a table."""
        return label(self.swept)

    def __str__(self) -> str:
        return f"trial {self.number} ({self.label or ' '.join(self.overrides) or 'as configured'})"

    def read_objectives(self, names: Sequence[str]) -> None:
        """Take the values of the objectives from the journal of its run; none where one of them is not there."""
        found = journal.latest(self.directory.journal, names)
        if set(found) == set(names):
            self.objectives = [found[name] for name in names]

    def wait_again(self) -> None:
        """Let it be started once more; its run must not look ended until then."""
        self.state = WAITING
        status.write(self.directory, status.Status())

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Trial:
        return cls(**{**values, "attempts": [Attempt(**attempt) for attempt in values["attempts"]]})


def identity(config: RunConfig) -> str:
    """SHA-256 of what a trial finds out: two trials with the same identity would do the same work."""
    values = {key: value for key, value in frozen.to_dict(config).items() if key not in CIRCUMSTANCES}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def swept(trials: list[list[str]]) -> list[dict[str, str]]:
    """For each trial's overrides those that tell it apart, as key and value: keys of every trial with values of their own.

    The overrides of a case are left to its name.
    """
    pairs = [dict(text.split("=", 1) for text in overrides) for overrides in trials]
    keys = [key for key in (pairs[0] if pairs else ()) if all(key in given for given in pairs)]
    apart = [key for key in keys if len({given[key] for given in pairs}) > 1]
    return [{key: given[key] for key in apart} for given in pairs]
