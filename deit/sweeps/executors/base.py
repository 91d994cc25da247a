"""Where trials run: the interface of a machine or a cluster for the loop over the trials (``deit.sweeps.work``)."""

from __future__ import annotations

import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen

from deit.config.schema import RunConfig
from deit.machine import processes
from deit.runs.directory import RunDirectory
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import Trial


def launch(trial: RunDirectory, environment: Mapping[str, str], folder: Path) -> Popen[bytes]:
    """Start the process of a trial in ``folder``. If its parent dies, it writes a checkpoint and ends."""
    command = [sys.executable, "-m", "deit.trial", str(trial.path)]
    return processes.start(command, environment, trial.logs / "launch.log", death_signal=signal.SIGTERM, folder=folder)


class Handle(ABC):
    """A trial that was started."""

    cards: list[int]  # its cards; empty if not known (yet)
    began: float | None = None  # since when, Unix seconds, it has them; None: since its start
    freed: float | None = None  # since when, Unix seconds, they are free again; a trial may end a little later

    @abstractmethod
    def poll(self) -> int | None:
        """The exit code of ``python -m deit.trial``, negative for a signal; None while it runs or waits.

        An executor that learns of an end indirectly, as from a batch system, reads it from the run's status.
        """

    @abstractmethod
    def stop(self) -> None:
        """Ask the trial to write a checkpoint and end (SIGTERM). Returns at once."""

    @abstractmethod
    def kill(self) -> None:
        """End every process of the trial now."""


class Executor(ABC):
    """Starts trials when there are free cards."""

    @property
    def size(self) -> int | None:
        """Total number of cards, for the usage in the table; None if unknown."""
        return None

    @property
    def full(self) -> bool:
        """Whether no trial could start now, whatever it needs: then a search is not asked for one."""
        return False

    @property
    def outlives(self) -> bool:
        """Whether running trials continue when the sweep is stopped."""
        return False

    @abstractmethod
    def check(self, config: RunConfig) -> None:
        """Raise UserError if ``config`` could never run here, for example because it needs more cards than there are."""

    def begin(self, sweep: SweepDirectory) -> None:  # noqa: B027  # most need nothing of it
        """Called with the sweep before anything else about its trials."""

    def takes_up(self, trial: Trial) -> bool:
        """Whether a trial that an earlier launch has started still waits or runs here; ``start`` then continues with it."""
        return False

    @abstractmethod
    def start(self, trial: Trial, config: RunConfig) -> Handle | None:
        """Start a trial, whose run directory is complete; None if there are no free cards at the moment."""

    def close(self) -> None:  # noqa: B027  # most have nothing to give back
        """Release what the executor holds. Called once, after the last trial has ended."""
