"""Where trials run: what the loop over the trials (``deit.sweeps.work``) asks of a machine or a cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod

from deit.config.schema import RunConfig
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import Trial


class Handle(ABC):
    """A trial that was started."""

    cards: list[int]  # which it got; empty where that is not known (yet)
    began: float | None = None  # since when, Unix seconds, it has them; None: since its start
    freed: float | None = None  # since when, Unix seconds, others may have them; a trial may end a little later

    @abstractmethod
    def poll(self) -> int | None:
        """The exit code of ``python -m deit.trial``, negative for a signal; None while it runs or waits.

        An executor that learns of an end otherwise, as from a batch system, takes it from the run's status.
        """

    @abstractmethod
    def stop(self) -> None:
        """Ask the trial to write a checkpoint and end (SIGTERM). Returns at once."""

    @abstractmethod
    def kill(self) -> None:
        """End every process of the trial now."""


class Executor(ABC):
    """Starts trials where there is room."""

    @property
    @abstractmethod
    def size(self) -> int | None:
        """Cards there are in all, for the use shown in the table; None where that is not for us to know."""

    @property
    def full(self) -> bool:
        """Whether no trial could start now, whatever it needs: a search is not asked for one before there is room."""
        return False

    @property
    def outlives(self) -> bool:
        """Whether trials at work are left alone when the sweep is stopped."""
        return False

    @abstractmethod
    def check(self, config: RunConfig) -> None:
        """Raise UserError where ``config`` could never run here, such as one of more cards than there are."""

    def begin(self, sweep: SweepDirectory) -> None:  # noqa: B027  # most need nothing of it
        """Hear which sweep it is, before anything is asked about its trials."""

    def takes_up(self, trial: Trial) -> bool:
        """Whether what an earlier launch has started for a trial still waits or works here; ``start`` then takes it up."""
        return False

    @abstractmethod
    def start(self, trial: Trial, config: RunConfig) -> Handle | None:
        """Start a trial, whose run directory is complete; None where there is no room at the moment."""

    def close(self) -> None:  # noqa: B027  # most have nothing to give back
        """Give back what the executor holds. Called once, after the last trial has ended."""
