"""The terminal output of a sweep: the trials before they start, and a live table while they run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from deit.config.schema import RunConfig
from deit.console import LiveArea, console
from deit.launching.display import eta
from deit.recipe.plan import global_batch, known_train_images, plan
from deit.runs import status
from deit.runs.outcome import FAILED, FINISHED, INTERRUPTED
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import PRUNED, RUNNING, WAITING, Trial
from deit.sweeps.executors.base import Executor
from deit.sweeps.trial_results import Results, against_best, with_intervals
from deit.sweeps.trial_source import Source
from deit.text import column, label

MOST_ROWS = 30  # of a table
FRAME = 5  # lines of the live table besides its rows, and one for the shell's prompt
STYLES = {RUNNING: "cyan", FINISHED: "green", FAILED: "red", PRUNED: "yellow", INTERRUPTED: "yellow", WAITING: "dim"}


def overview(rows: Sequence[tuple[int, str, RunConfig]]) -> Table:
    """The trials of a sweep before they start; ``rows`` are number, label, configuration."""
    table = Table(title=f"{len(rows)} trials", title_justify="left")
    for name in ("trial", "cards", "batch", "epochs", "steps"):
        table.add_column(name, justify="right")
    table.add_column("model")
    table.add_column("on")
    table.add_column("values", overflow="fold")
    for number, values, config in rows:
        table.add_row(str(number), *_numbers(config), config.model.name, config.hardware.target, Text(values))
    return table


def _numbers(config: RunConfig) -> tuple[str, ...]:
    cards = str(config.hardware.cards * config.hardware.nodes)
    if not config.task.is_training:
        return cards, "-", "-", "-"
    images = known_train_images(config)
    steps = "-" if images is None else f"{plan(config, images).total_steps:,}"
    return cards, str(global_batch(config)), str(config.schedule.epochs + config.schedule.cooldown_epochs), steps


def ranking(found: Results) -> Table:
    """The settings of an ended sweep, the best mean first, with 95 % intervals; then unfinished trials."""
    settings = found.settings[:MOST_ROWS]
    table = Table(title="settings, the best first; 95 % intervals in brackets", title_justify="left")
    table.add_column(found.repeats if found.repeated else "trial", justify="right")
    for name in found.objectives:
        table.add_column(name, justify="right")
    table.add_column("against the best")
    table.add_column("values", overflow="fold")
    cells = [with_intervals(settings, number) for number in range(len(found.objectives))]
    for place, setting in enumerate(settings):
        count_or_trial = len(setting.rows) if found.repeated else setting.rows[0].trial.number
        verdict = against_best(setting, settings[0])
        table.add_row(str(count_or_trial), *(cell[place] for cell in cells), verdict, Text(label(setting.swept)))
    unfinished = [row for row in found.rows if row.trial.state != FINISHED]
    for row in unfinished[: MOST_ROWS - len(settings)]:
        state = Text(row.trial.state, STYLES[row.trial.state])
        which = "" if found.repeated else str(row.trial.number)
        values = (column([value])[0] for value in row.objectives)
        table.add_row(which, *values, state, Text(row.trial.label))
    return table


class LiveTable(LiveArea):
    """All trials and the usage of the cards, on a terminal; elsewhere the loop's lines are enough."""

    def __init__(self, sweep: SweepDirectory, source: Source, executor: Executor) -> None:
        super().__init__(console())
        self._sweep, self._source, self._executor = sweep, source, executor
        self._began = time.time()

    def update(self) -> None:
        """Redraw the table; never raises."""
        if not self.on:
            return
        try:
            self.draw(Group(self._table(), Text(self._foot(), no_wrap=True, overflow="ellipsis")))
        except Exception as error:
            self.give_up(error)

    def _table(self) -> Table:
        """A line for each trial, as many as the terminal has."""
        table = Table(title=f"sweep {self._sweep.id}", title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for name in ("trial", "state", "epoch", "loss", "top-1 %", "ETA", "cards", "values"):
            left = name in ("state", "cards", "values")
            table.add_column(name, justify="left" if left else "right", no_wrap=True, overflow="ellipsis")
        for trial in most_telling(self._source.trials, console().height - FRAME):
            table.add_row(str(trial.number), Text(trial.state, STYLES[trial.state]), *_progress(trial), Text(trial.label))
        return table

    def _foot(self) -> str:
        """The number of trials in each state, and the usage of the cards."""
        counts = Counter(trial.state for trial in self._source.trials)
        parts = [f"{counts[state]} {state}" for state in STYLES if counts[state]]
        if self._executor.size:
            share = use_of_cards(self._source.trials, self._executor.size, self._began, time.time())
            parts.append(f"cards in use {100 * share:.0f} % of the time so far")
        return ", ".join(parts)


def most_telling(trials: Sequence[Trial], most: int = MOST_ROWS) -> list[Trial]:
    """At most ``most`` trials: running ones, then the latest to end, then waiting ones; by number."""
    order = {RUNNING: 0, WAITING: 2}
    telling = sorted(
        trials, key=lambda t: (order.get(t.state, 1), -((t.attempts[-1].ended or 0) if t.attempts else 0), t.number)
    )
    return sorted(telling[: max(1, most)], key=lambda trial: trial.number)


def use_of_cards(trials: Sequence[Trial], size: int, began: float, ended: float) -> float:
    """Share of the card time from ``began`` to ``ended`` (Unix seconds) in which a trial had the card."""
    used = sum(
        len(attempt.cards) * max(0.0, min(attempt.ended or ended, ended) - max(attempt.began, began))
        for trial in trials
        for attempt in trial.attempts
    )
    return used / (size * max(ended - began, 1e-9))


def _progress(trial: Trial) -> tuple[str, str, str, str, str]:
    """Epoch, training loss, best accuracy of the raw weights, remaining time, cards."""
    if not trial.attempts:
        return "", "", "", "", ""
    now = status.read(trial.directory)
    progress, attempt = now.progress, trial.attempts[-1]
    best = (progress.get("best") or {}).get("val") or (now.results.get("best") or {}).get("val") or {}
    epoch = f"{progress['epoch']}/{progress['epochs']}" if "epochs" in progress else progress.get("phase", "")
    loss = f"{progress['loss']:.4f}" if "loss" in progress else ""
    left = eta(progress) if trial.state == RUNNING else ""
    cards = ",".join(map(str, attempt.cards)) if trial.state == RUNNING else ""
    return epoch, loss, f"{best['top1']:.2f}" if best else "", left, cards
