"""The source of trials: a fixed list, or a search that makes the next from the results so far."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from deit.runs.trial_record import WAITING, Trial


class Source(ABC):
    """The trials of a sweep, for the loop of ``deit.sweeps.work``, which owns their states."""

    trials: list[Trial]  # all so far, by number
    problem: str | None = None  # why no more came, if that was too early

    @abstractmethod
    def waiting(self) -> Sequence[Trial]:
        """Trials that could start now, in order of preference. A search may create a new one."""

    @property
    @abstractmethod
    def exhausted(self) -> bool:
        """Whether no further trial will come, once those that run have ended."""

    def ended(self, trial: Trial) -> None:  # noqa: B027  # a list has nothing to learn
        """Called when a trial has ended for good: its state is FINISHED, FAILED, PRUNED or INTERRUPTED."""

    def to_prune(self, running: Sequence[Trial]) -> dict[int, str]:
        """Which of the running trials (by number) should be stopped, and why."""
        return {}


class Listed(Source):
    """A fixed list of trials: the longest first, and of these the ones with the most cards.

    Short and small ones then fill the gaps, also at the end (benchmarks/pool_simulation.py compares other orders).
    """

    def __init__(self, trials: list[Trial]) -> None:
        self.trials = trials

    def waiting(self) -> Sequence[Trial]:
        return sorted((t for t in self.trials if t.state == WAITING), key=lambda t: (-t.length, -t.cards, t.number))

    @property
    def exhausted(self) -> bool:
        return not any(trial.state == WAITING for trial in self.trials)
