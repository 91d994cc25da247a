"""An optional process next to a run or a sweep: started with it, restarted if it dies, and ended after it."""

from __future__ import annotations

import abc
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

from deit.machine import processes
from deit.machine.python import python_environment
from deit.text import ended_text

STOP_PATIENCE = 5.0  # seconds to end after SIGINT
RESTARTS = 5  # maximum restarts
STEADY = 3600.0  # seconds of life after which the count starts again
FIRST_PAUSE = 1.0  # seconds before the first restart, doubled each time


class Place(Protocol):
    """The directory that a companion works for, of a run or of a sweep."""

    path: Path
    logs: Path


class Companion(abc.ABC):
    """The process ``python -m MODULE PLACE`` of one run or sweep."""

    name: str  # used in its log and as the log's name, logs/<name>.log
    module: str

    def __init__(self, place: Place) -> None:
        self.place = place
        self.process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._restarts = 0
        self._due: float | None = None  # when it is restarted

    @abc.abstractmethod
    def _done(self) -> bool:
        """Whether its work is done."""

    def _begin(self) -> None:
        self._started = time.monotonic()
        self.process = self._spawn(self.module, self.place.path)

    def _spawn(self, module: str, argument: Path) -> subprocess.Popen[bytes]:
        return processes.start(
            [sys.executable, "-m", module, str(argument)],
            python_environment(),
            self.place.logs / f"{self.name}.log",
            # It outlives a killed launcher long enough to report the end.
            death_signal=None,
            shielded=True,
        )

    def watch(self) -> None:
        """Restart it if it has died before its work was done; does not block, to be called regularly.

        The pauses double and the number of restarts is limited: a repeated death has a permanent cause.
        """
        if self.process is None:
            return
        code = self.process.poll()
        if code is None or code == 2 or self._done():  # 2: it cannot work with this configuration
            return
        if self._due is None:
            if time.monotonic() - self._started > STEADY:
                self._restarts = 0
            self._due = time.monotonic() + FIRST_PAUSE * 2**self._restarts
        if self._restarts == RESTARTS or time.monotonic() < self._due:
            return
        self._restarts += 1
        self._due = None
        try:
            with open(self.place.logs / f"{self.name}.log", "a", encoding="utf-8") as log:
                log.write(f"the {self.name} {ended_text(code)}; restarting it ({self._restarts} of {RESTARTS})\n")
            self._begin()
        except OSError:  # full disk or process limit, which must not end the training
            return

    def stop(self) -> None:
        """Stop it if it is still running; it can resume later."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
