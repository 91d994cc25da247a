"""A process beside a run or a sweep that the work does not need: started with it, again if it dies, and ended after it."""

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

STOP_PATIENCE = 5.0  # seconds it has after SIGINT
RESTARTS = 5  # times one that died is started again
STEADY = 3600.0  # seconds of life after which a death is counted as the first again
FIRST_PAUSE = 1.0  # seconds before that, doubled each time


class Place(Protocol):
    """The directory of what a companion works for, of a run or of a sweep."""

    path: Path
    logs: Path


class Companion(abc.ABC):
    """The process ``python -m MODULE PLACE`` of one run or sweep."""

    name: str  # as its log calls it, which is logs/<name>.log
    module: str

    def __init__(self, place: Place) -> None:
        self.place = place
        self.process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._restarts = 0
        self._due: float | None = None  # when one that died is started again

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
            # It outlives a killed launcher long enough to tell of the end.
            death_signal=None,
            shielded=True,
        )

    def watch(self) -> None:
        """Start it again if it has died before its work was done; at once this returns, to be called now and then.

        The pauses between its lives double, and their number is limited: what kills it again and again is no accident.
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
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        try:
            with open(self.place.logs / f"{self.name}.log", "a", encoding="utf-8") as log:
                log.write(f"the {self.name} {how}; it is started again ({self._restarts} of {RESTARTS})\n")
            self._begin()
        except OSError:  # no room, no more processes: the training is not to end by that
            return

    def stop(self) -> None:
        """End it if it is still at work; it keeps its place and can go on later."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        end = time.monotonic() + STOP_PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
