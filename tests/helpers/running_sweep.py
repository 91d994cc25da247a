"""A real sweep in the background."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from command import LAUNCH, with_last

from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import Trial

LONG = "schedule.epochs=20000"  # until somebody ends it


class Sweep:
    """`python launch.py ARGUMENTS` in the background, in its own folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.output = folder, folder / "output.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> Sweep:
        with open(self.output, "a") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(LAUNCH), *with_last(*arguments)], cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )
        return self

    @property
    def directory(self) -> SweepDirectory:
        (path,) = self.folder.glob("runs/sweeps/*")
        return SweepDirectory(path)

    def trials(self) -> list[Trial]:
        found = list(self.folder.glob("runs/sweeps/*/trials.jsonl"))
        return self.directory.read_trials() if found else []

    def wait(self, what: Callable[[list[Trial]], Any], timeout: float = 600) -> Any:
        """The first true answer of ``what``, asked with the trials."""
        assert self.process is not None
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            ended = self.process.poll() is not None
            if found := what(self.trials()):
                return found
            assert not ended, self.output.read_text()
            time.sleep(0.1)
        raise AssertionError(self.output.read_text())

    def end(self, timeout: float = 600) -> int:
        assert self.process is not None
        return self.process.wait(timeout)
