"""``summary.csv`` for programs and ``summary.md`` for people: the trials of a sweep, the best first."""

from __future__ import annotations

import csv
import html
import io
import re
import shlex
import time
from collections.abc import Iterable, Sequence
from typing import Any

from deit.secrets import redact
from deit.sweeps.reporting.importance import Importance
from deit.sweeps.trial_results import Results, Row
from deit.text import duration

FACTS = ("seconds", "cards", "card_hours", "attempts", "run", "message")


def csv_text(results: Results) -> str:
    """A line for each trial: rank, number, state, swept values, objectives, best and last results, and ``FACTS``.

    A value that is not there is an empty cell.
    """
    found = list(dict.fromkeys(name for row in results.rows for name in row.results))
    columns = list(dict.fromkeys([*results.objectives, *found]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "number", "state", *results.parameters, *columns, *FACTS])
    for row in results.ranked():
        trial = row.trial
        values = row.results | dict(zip(results.objectives, row.objectives, strict=True))
        writer.writerow(
            [row.rank, trial.number, trial.state]
            + [trial.swept.get(name) for name in results.parameters]
            + [values.get(name) for name in columns]
            + [round(row.seconds, 1), trial.cards, round(row.card_seconds / 3600, 4), len(trial.attempts), trial.run]
            + [trial.message]
        )
    return redact(text.getvalue())


def markdown(results: Results, shares: Importance, links: Sequence[str]) -> str:
    """The same in short as tables, with the means over seeds, the importance of each key and the links to MLflow."""
    names = [f"{name} ({'high' if way == 'maximize' else 'low'} is better)" for name, way in _objectives(results)]
    parts = [
        f"# Sweep of {moment(results.info['created'])}",
        _code(command(results.info)),
        f"{states(results.rows)}. Compared by {', '.join(names)}. {code(results.info)}".strip(),
        "## Trials",
        _table(
            ["rank", "trial", "state", *results.parameters, *results.objectives, "time", "card hours"],
            (
                [row.rank, row.trial.number, row.trial.state]
                + [row.trial.swept.get(name) for name in results.parameters]
                + [number(value) for value in row.objectives]
                + [duration(row.seconds), f"{row.card_seconds / 3600:.3g}"]
                for row in results.ranked()
            ),
        ),
    ]
    messages = [f"- trial {row.trial.number}: {escaped(row.trial.message)}" for row in results.rows if row.trial.message]
    if messages:
        parts += ["## What was not finished", "\n".join(messages)]
    groups = results.groups()
    if groups:
        parts += [
            "## Mean over seeds",
            "Mean ± sample standard deviation of the finished trials that differ in nothing but their seed.",
            _table(
                [*(name for name in results.parameters if name != "seed"), "seeds", *results.objectives],
                (
                    [group.swept.get(name) for name in results.parameters if name != "seed"]
                    + [len(group.rows)]
                    + [spread(m, d) for m, d in zip(group.mean, group.deviation, strict=True)]
                    for group in groups
                ),
            ),
        ]
    parts += [f"## What {escaped(results.objectives[0])} depends on"]
    if shares.reason:
        parts += [f"Not told: {shares.reason}."]
    else:
        parts += [
            f"Shares of a random forest over {shares.trials} trials (R2 out of bag {shares.r2:.2f}).",
            _table(["key", "share"], ([name, f"{100 * share:.0f} %"] for name, share in shares.shares.items())),
        ]
    if links:
        parts += ["## In MLflow", "\n".join(f"    {line}" for line in links)]
    return redact("\n\n".join(parts)) + "\n"


def _objectives(results: Results) -> Iterable[tuple[str, str]]:
    return zip(results.objectives, results.directions, strict=True)


def command(info: dict[str, Any]) -> str:
    """What was typed, as one could type it again."""
    return redact(f"python launch.py {shlex.join(info['typed'])}".strip())


def code(info: dict[str, Any]) -> str:
    """The commit it ran from, in words; empty where that is not known."""
    git = info.get("git") or {}
    return f"Commit {git['commit'][:10]}{' with changes' if git.get('dirty') else ''}." if git.get("commit") else ""


def moment(unix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix))


def states(rows: Sequence[Row]) -> str:
    """``12 trials: 10 finished, 2 failed``."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.trial.state] = counts.get(row.trial.state, 0) + 1
    if not rows:
        return "No trials yet"
    return f"{len(rows)} trials: " + ", ".join(f"{count} {state}" for state, count in counts.items())


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def spread(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return ""
    return number(mean) if deviation is None else f"{number(mean)} ± {deviation:.2g}"


def escaped(text: Any) -> str:
    """``text`` so that Markdown shows it as it is, on one line."""
    plain = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", plain)


def _code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [["" if cell is None else cell if cell == "---" else escaped(cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
