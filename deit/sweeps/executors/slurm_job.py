"""What submitit starts on each machine of a trial's job: the trial's process, and Slurm's signals handed to it.

Slurm signals all processes of a step or only the first ones, as the cluster is set up. So the process of the trial gets its
SIGTERM from here, too (a second one at once does no harm), and what is not meant for it is kept from it and all it starts.
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

WARNING = signal.SIGUSR2  # what submitit lets Slurm send before the time is up


class Job:
    """A trial on the machines of a job; submitit keeps it in a file, calls it there, and again when the job is requeued."""

    def __init__(self, run: str, folder: str, patience: float) -> None:
        """``run``: its directory; ``folder``: where it works; ``patience``: seconds it has to write a checkpoint."""
        self.run, self.folder, self.patience = run, folder, patience
        self.pid: int | None = None

    def __call__(self) -> None:
        """See the trial through; ends with its exit code."""
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
        sys.exit(code if code >= 0 else 128 - code)

    def checkpoint(self) -> Any:
        """submitit calls it when the time is up or the machine is wanted back: what to do once the job is requeued.

        None, so that it is not, where the trial has ended by itself meanwhile.
        """
        from submitit.helpers import DelayedSubmission

        self._hand_on()
        end = time.monotonic() + self.patience
        while self._alive() and time.monotonic() < end:
            time.sleep(0.2)
        if status.read(RunDirectory(self.run)).state in (status.FINISHED, status.FAILED):
            return None
        return DelayedSubmission(Job(self.run, self.folder, self.patience))

    def _hand_on(self, *_: Any) -> None:
        if self.pid is not None:
            try:
                os.kill(self.pid, signal.SIGTERM)
            except ProcessLookupError:
                return

    def _alive(self) -> bool:
        """Whether the trial's process is. This runs in a handler, while ``Popen.wait`` is at work and holds its lock."""
        if self.pid is None:
            return False
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:  # it has been waited for
            return False


def _shielded(parent: int) -> None:
    signal.signal(WARNING, signal.SIG_IGN)  # whose default is the end; inherited by all that the trial starts
    end_with_parent(signal.SIGTERM, parent)
