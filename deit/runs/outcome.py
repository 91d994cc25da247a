"""How a run ended, decided in one place.

A worker sees an exception, a supervisor the exit code of a process, a sweep that of a trial, Slurm's executor the state of a
job, a later launch only that no process is left. Each makes an ``Outcome``; ``decide`` selects the one that counts.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from deit.errors import UserError
from deit.text import ended_text

FINISHED, FAILED, INTERRUPTED = "finished", "failed", "interrupted"
ENDED = (FINISHED, FAILED, INTERRUPTED)
GONE = "its launcher and workers are gone: killed, or the machine went down"  # nobody could record the end
USAGE = 2  # the exit code of a mistake that a restart would repeat

_MLFLOW = {FINISHED: "FINISHED", FAILED: "FAILED", INTERRUPTED: "KILLED"}


@dataclass(frozen=True)
class Outcome:
    """How a run ended. ``state`` is one of ``ENDED``, ``message`` the reason."""

    state: str
    exit_code: int
    message: str | None = None

    @property
    def text(self) -> str:
        """The reason, or the state without one."""
        return self.message or self.state

    @property
    def mlflow_status(self) -> str:
        return _MLFLOW[self.state]

    @property
    def retryable(self) -> bool:
        """Whether a restart may succeed."""
        return self.state == FAILED and self.exit_code != USAGE


def finished() -> Outcome:
    return Outcome(FINISHED, 0)


def failed(message: str | None, exit_code: int = 1) -> Outcome:
    return Outcome(FAILED, exit_code, message)


def interrupted(number: int, message: str | None = None) -> Outcome:
    """Stopped by signal ``number``, after which it can be resumed."""
    return Outcome(INTERRUPTED, signal_code(number), message or f"stopped by {signal.Signals(number).name}")


def gone() -> Outcome:
    """The outcome of a run without processes that has recorded no end."""
    return Outcome(INTERRUPTED, 1, GONE)


def signal_code(number: int) -> int:
    """The exit code after an orderly stop by a signal: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


def of_error(error: Exception) -> Outcome:
    """The outcome of a task that raised."""
    if isinstance(error, UserError):
        return failed(str(error), error.exit_code)
    # MindSpore frames its messages with lines of dashes, and starts headings with a dash.
    lines = (line.strip() for line in str(error).splitlines())
    return failed(f"{type(error).__name__}: {next((line for line in lines if line and not line.startswith('-')), '')}")


def of_trial(code: int, recorded: Outcome | None, last_line: Callable[[], str]) -> Outcome:
    """The outcome of a trial whose process (``python -m deit.trial``) ended with ``code``, negative if killed by a signal.

    ``last_line`` returns the last output of a trial that failed before there was a status.
    """
    if code == 0:
        return finished()
    message = recorded.message if recorded else None
    if code in (signal_code(signal.SIGINT), signal_code(signal.SIGTERM)):
        return Outcome(INTERRUPTED, code, message)
    if code < 0:
        return failed(f"its launcher {ended_text(code)}")
    return failed(message if recorded else last_line(), code)


def decide(
    recorded: Outcome | None, elsewhere: Outcome | None, signalled: Outcome | None, seen: Callable[[], Outcome]
) -> Outcome:
    """The outcome of a run if its processes disagree.

    ``recorded`` was written by rank 0, ``elsewhere`` by another machine, ``signalled`` is for a forwarded signal, and ``seen``
    examines the processes themselves if nothing else explains the end. A rank that fails makes the others stop, so a failure
    counts more than an interruption, and more than what the signal did to the rest.
    """
    if recorded is not None and recorded.state != INTERRUPTED:
        return recorded
    if elsewhere is not None and elsewhere.state != FINISHED:
        return elsewhere
    return signalled or recorded or seen()
