"""The loop over the trials of a sweep: start, watch, stop, retry, record.

A failed, killed or hanging trial does not affect the others. After each event ``trials.jsonl`` has the state of every trial, so
that a killed sweep can be resumed with ``sweep.resume=``.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from dataclasses import dataclass

from deit.config import frozen
from deit.config.schema import RunConfig, SweepConfig
from deit.console import console
from deit.files import write_json
from deit.machine import signals
from deit.machine.companion import Companion
from deit.runs import status
from deit.runs.outcome import FAILED, FINISHED, INTERRUPTED, USAGE, Outcome, of_trial
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import PRUNED, RUNNING, WAITING, Attempt, Trial
from deit.sweeps.executors.base import Executor, Handle
from deit.sweeps.trial_source import Source
from deit.sweeps.trial_tables import LiveTable
from deit.text import duration

POLL = 0.3  # seconds
PRUNE_EVERY = 2.0  # seconds
SETTLE = 30.0  # seconds for a trial to end after a stop request, in addition to hardware.grace_period


@dataclass
class _Running:
    """A running trial. Times are those of ``time.monotonic``."""

    trial: Trial
    handle: Handle
    began: float | None = None  # when its process was first seen; a cluster job waits before that
    asked: float | None = None  # when it was asked to stop
    becomes: str | None = None  # its state once it has stopped
    reason: str | None = None


class Work:
    """Runs all trials of ``source`` on ``executor``."""

    def __init__(
        self,
        sweep: SweepDirectory,
        source: Source,
        executor: Executor,
        settings: SweepConfig,
        beside: Companion | None = None,
    ) -> None:
        """``beside`` is restarted if it dies."""
        self._beside = beside
        self.sweep, self.source, self.executor, self.settings = sweep, source, executor, settings
        self.signals: list[int] = []
        self._running: dict[int, _Running] = {}
        self._configs: dict[int, RunConfig] = {}
        self._failures: Counter[int] = Counter()  # of each trial, in this launch of the sweep
        self._pruned_at = 0.0

    def run(self) -> int | None:
        """Work until all trials have ended or a signal came; returns the signal, or None."""
        with signals.noted() as self.signals:
            return self._see_through()

    def _see_through(self) -> int | None:
        table = LiveTable(self.sweep, self.source, self.executor)
        try:
            with table:
                while True:
                    self._take_ends()
                    if self.signals and self.executor.outlives:
                        self._leave()
                    elif self.signals:
                        self._stop_all()
                    else:
                        self._stop_late_ones()
                        self._prune()
                        self._start_what_fits()
                    table.update()
                    if self._beside is not None:
                        self._beside.watch()
                    if not self._running and (self.signals or self.source.exhausted):
                        return self.signals[0] if self.signals else None
                    time.sleep(POLL)
        finally:
            for running in self._running.values():  # only after an error of this process
                running.handle.stop()
            self.executor.close()

    def _start_what_fits(self) -> None:
        for trial in () if self.executor.full else self.source.waiting():
            if self.signals or self.executor.full:
                return
            config = self._configs.get(trial.number) or frozen.load(trial.directory.config)
            self._configs[trial.number] = config
            handle = self.executor.start(trial, config)
            if handle is None:
                continue  # a smaller one may fit
            going = bool(trial.attempts) and trial.attempts[-1].ended is None  # started by an earlier launch of the sweep
            if not going:
                trial.attempts.append(Attempt(began=time.time(), cards=handle.cards))
            failures = sum(attempt.failed for attempt in trial.attempts)
            again = f", attempt {failures + 1}" if failures else ", resumed" if len(trial.attempts) > 1 else ""
            trial.state, trial.message = RUNNING, None
            self._running[trial.number] = _Running(trial, handle)
            self._write()
            on = f" on {_cards(handle.cards, config)}" if handle.cards else ""
            self._say(f"{trial} {'is taken up again' if going else 'starts'}{on}{again}: {trial.directory}")

    def _take_ends(self) -> None:
        for running in list(self._running.values()):
            code = running.handle.poll()
            running.trial.attempts[-1].cards = running.handle.cards
            running.trial.attempts[-1].began = running.handle.began or running.trial.attempts[-1].began
            if code is not None:
                del self._running[running.trial.number]
                self._ended(running, code)

    def _ended(self, running: _Running, code: int) -> None:
        trial = running.trial
        trial.attempts[-1].ended, trial.attempts[-1].exit_code = running.handle.freed or time.time(), code
        self._judge(running, code)
        if trial.state == FAILED:
            trial.attempts[-1].failed = True
            self._failures[trial.number] += 1
            if self._may_try_again(trial, code):
                trial.wait_again()
        if trial.state in (FINISHED, PRUNED):
            trial.read_objectives(self.settings.objectives)
        if trial.state != WAITING:
            self.source.ended(trial)
        self._write()
        took = duration(trial.attempts[-1].ended - trial.attempts[-1].began)
        values = zip(self.settings.objectives, trial.objectives or (), strict=False)
        more = [f"{name} {value:.4g}" for name, value in values] + ([trial.message] if trial.message else [])
        what = "failed, and will be retried" if trial.state == WAITING else trial.state
        self._say(f"{trial} {what} after {took}{': ' if more else ''}{', '.join(more)}")

    def _judge(self, running: _Running, code: int) -> None:
        """Set the state in which a trial has ended, and why."""
        trial, now = running.trial, status.read(running.trial.directory)
        outcome = of_trial(code, now.outcome, lambda: _last_line(trial))
        trial.state, trial.message = outcome.state, outcome.message
        if running.becomes is not None and outcome.state != FINISHED:
            trial.state, trial.message = running.becomes, running.reason
            outcome = Outcome(FAILED if running.becomes == FAILED else INTERRUPTED, outcome.exit_code, running.reason)
        if now.outcome is None:  # no process is left that could record it
            status.end(trial.directory, now, outcome)

    def _may_try_again(self, trial: Trial, code: int) -> bool:
        left = self._failures[trial.number] <= self.settings.retries
        return left and code != USAGE and not self.signals

    def _stop_late_ones(self) -> None:
        limit = self.settings.trial_timeout
        for running in self._running.values():
            if running.began is None and status.read(running.trial.directory).launcher_pid is not None:
                running.began = time.monotonic()
            if limit is not None and running.began is not None and time.monotonic() - running.began > limit:
                self._ask_to_stop(running, FAILED, f"took longer than sweep.trial_timeout={limit} s")
            self._insist(running)

    def _prune(self) -> None:
        if time.monotonic() - self._pruned_at < PRUNE_EVERY:
            return
        self._pruned_at = time.monotonic()
        working = [running.trial for running in self._running.values() if running.asked is None]
        for number, reason in self.source.to_prune(working).items():
            self._ask_to_stop(self._running[number], PRUNED, f"pruned: {reason}")

    def _stop_all(self) -> None:
        name = signal.Signals(self.signals[0]).name
        for running in self._running.values():
            self._ask_to_stop(running, INTERRUPTED, f"the sweep was stopped by {name}")  # also the reason if it is killed
            if len(self.signals) > 1:
                running.handle.kill()
            self._insist(running)

    def _leave(self) -> None:
        """Let the running trials continue without the sweep."""
        if self._running:
            self._say(f"{len(self._running)} trials continue without the sweep; sweep.resume finds them again")
        self._running.clear()

    def _ask_to_stop(self, running: _Running, becomes: str, reason: str) -> None:
        if running.asked is None:
            running.asked, running.becomes, running.reason = time.monotonic(), becomes, reason
            write_json(running.trial.directory.stop_reason, reason)
            running.handle.stop()

    def _insist(self, running: _Running) -> None:
        patience = self._configs[running.trial.number].hardware.grace_period + SETTLE
        if running.asked is not None and time.monotonic() - running.asked > patience:
            running.handle.kill()

    def _write(self) -> None:
        self.sweep.write_trials(self.source.trials)

    def _say(self, text: str) -> None:
        console().print(text)


def _cards(cards: list[int], config: RunConfig) -> str:
    name = "slot" if config.hardware.target == "cpu" else "card"
    return f"{name}{'s' if len(cards) > 1 else ''} {', '.join(map(str, cards))}"


def _last_line(trial: Trial) -> str:
    """The last line of a trial that failed before its run started."""
    log = trial.directory.logs / "launch.log"
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "it ended without a message")
