"""The process that submitit starts on each machine of a trial's job: it runs the trial and forwards Slurm's signals.

Depending on the cluster, Slurm signals all processes of a step or only the first ones. So the trial gets its SIGTERM from here,
too (a second one at once is harmless), and other signals are blocked for it and its children.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import Any

from deit.machine.lifeline import end_with_parent
from deit.machine.python import python_environment
from deit.runs import status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import FAILED, FINISHED, signal_code

WARNING = signal.SIGUSR2  # sent by Slurm for submitit before the time limit


class Job:
    """A trial on the machines of a job; submitit pickles it and calls it there, again when the job is requeued."""

    def __init__(self, run: str, folder: str, patience: float) -> None:
        """``run``: its directory; ``folder``: working directory; ``patience``: seconds to write a checkpoint."""
        self.run, self.folder, self.patience = run, folder, patience
        self.pid: int | None = None

    def __call__(self) -> None:
        """Run the trial; exits with its exit code."""
        signal.signal(signal.SIGTERM, self._hand_on)  # submitit would ignore it
        process = subprocess.Popen(
            [sys.executable, "-m", "deit.trial", self.run],
            cwd=self.folder,
            env=python_environment(),
            stdin=subprocess.DEVNULL,
            preexec_fn=partial(_shielded, os.getpid()),  # noqa: PLW1509  # only system calls: no other way asks for a death signal
        )
        self.pid = process.pid
        code = process.wait()
        self.pid = None
        sys.exit(code if code >= 0 else signal_code(-code))

    def checkpoint(self) -> Any:
        """Called by submitit at the time limit or a preemption: returns what to run when the job is requeued.

        None, which prevents the requeue, if the trial has ended meanwhile.
        """
        from submitit.helpers import DelayedSubmission

        self._hand_on()
        end = time.monotonic() + self.patience
        while self._alive() and time.monotonic() < end:
            time.sleep(0.2)
        if status.read(RunDirectory(self.run)).state in (FINISHED, FAILED):
            return None
        return DelayedSubmission(Job(self.run, self.folder, self.patience))

    def _hand_on(self, *_: Any) -> None:
        if self.pid is not None:
            try:
                os.kill(self.pid, signal.SIGTERM)
            except ProcessLookupError:
                return

    def _alive(self) -> bool:
        """Whether the trial's process is alive. Runs in a signal handler, while ``Popen.wait`` holds its lock."""
        if self.pid is None:
            return False
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:  # already waited for
            return False


def _shielded(parent: int) -> None:
    signal.signal(WARNING, signal.SIG_IGN)  # the default is to terminate; inherited by all children
    end_with_parent(signal.SIGTERM, parent)
