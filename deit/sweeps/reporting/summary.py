"""``summary.csv`` for programs and ``summary.md`` for people: the trials of a sweep, the best first."""

from __future__ import annotations

import csv
import html
import io
import re
import shlex
import textwrap
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from deit.installation import words_in
from deit.secrets import redact
from deit.sweeps.reporting.importance import Importance
from deit.sweeps.trial_results import REPEATS, Results, Row, against_best, with_intervals
from deit.text import column, duration

FACTS = ("seconds", "cards", "card_hours", "attempts", "run", "message")


def intervals(results: Results) -> str:
    """What the brackets and the comparison with the best setting mean."""
    many, one = results.repeats, results.repeats[:-1]
    shared = " (whose trainings share images, so that it is rather too narrow)" if many == "folds" else ""
    return (
        f"Brackets contain 95 % intervals of the mean: Student's t over the {many}{shared}, or, for one {one}, the binomial "
        f"interval of its validation images, which ignores the variation between {many}. A setting is worse than the best if "
        f"Welch's test over the {many}, or Fisher's on the images, gives p below 0.05 after Holm's correction for all "
        "settings; else it is not distinguishable."
    )


def csv_text(results: Results) -> str:
    """A line for each trial: rank, number, state, swept values, objectives, best and last results, and ``FACTS``.

    A missing value is an empty cell.
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
    """A summary as tables: settings by their mean over seeds or folds, trials, importances, the links to MLflow."""
    ranked = results.ranked()
    cells = [column([row.objectives[place] for row in ranked], none="") for place in range(len(results.objectives))]
    better = {"maximize": "high is better", "minimize": "low is better"}
    names = [f"{name} ({better[way]})" for name, way in zip(results.objectives, results.directions, strict=True)]
    parts = [
        f"# Sweep of {moment(results.info['created'])}",
        textwrap.indent(command(results.info), "    "),
        f"{states(results.rows)}. Compared by {', '.join(names)}. {code(results.info)}".strip(),
        *_settings(results),
        "## Trials",
        _table(
            ["rank", "trial", "state", *results.parameters, *results.objectives, "time", "card hours"],
            (
                [row.rank, row.trial.number, row.trial.state]
                + [row.trial.swept.get(name) for name in results.parameters]
                + [cell[place] for cell in cells]
                + [duration(row.seconds), f"{row.card_seconds / 3600:.3g}"]
                for place, row in enumerate(ranked)
            ),
        ),
    ]
    messages = [f"- trial {row.trial.number}: {escaped(row.trial.message)}" for row in results.rows if row.trial.message]
    if messages:
        parts += ["## Unfinished trials", "\n".join(messages)]
    parts += [f"## What {escaped(results.objectives[0])} depends on"]
    if shares.reason:
        parts += [f"Not available: {shares.reason}."]
    else:
        parts += [
            f"Shares of a random forest over {shares.trials} trials (R2 out of bag {shares.r2:.2f}).",
            _table(["key", "share"], ([name, f"{100 * share:.0f} %"] for name, share in shares.shares.items())),
        ]
    if links:
        parts += ["## In MLflow", textwrap.indent("\n".join(links), "    ")]
    return redact("\n\n".join(parts)) + "\n"


def note(results: Results) -> str:
    """The best settings for the description of the sweep's run in MLflow; empty if nothing has finished."""
    return redact("\n\n".join(_settings(results, most=20)[1:]))


def _settings(results: Results, most: int | None = None) -> list[str]:
    """The settings, the best mean first, and which of them are not distinguishable from the best."""
    settings, verdict = results.settings[:most], results.verdict()
    if verdict is None:
        return []
    cells = [with_intervals(settings, place) for place in range(len(results.objectives))]
    keys = [name for name in results.parameters if name not in REPEATS]
    return [
        "## Settings",
        f"{escaped(verdict[0].upper() + verdict[1:])}.",
        intervals(results),
        _table(
            [*keys, results.repeats, *results.objectives, "deviation", "against the best", "trials"],
            (
                [setting.swept.get(name) for name in keys]
                + [len(setting.rows), *(cell[place] for cell in cells)]
                + ["" if setting.deviation[0] is None else f"{setting.deviation[0]:.2g}", against_best(setting, settings[0])]
                + [", ".join(str(row.trial.number) for row in setting.rows)]
                for place, setting in enumerate(settings)
            ),
        ),
    ]


def command(info: dict[str, Any]) -> str:
    """The command line, ready to be typed again."""
    return redact(shlex.join([*words_in(info), *info["typed"]]))


def code(info: dict[str, Any]) -> str:
    """The commit it ran from, in words; empty if unknown."""
    git = info.get("git") or {}
    return f"Commit {git['commit'][:10]}{' with changes' if git.get('dirty') else ''}." if git.get("commit") else ""


def moment(unix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix))


def states(rows: Sequence[Row]) -> str:
    """``12 trials: 10 finished, 2 failed``."""
    if not rows:
        return "No trials yet"
    counts = Counter(row.trial.state for row in rows)
    return f"{len(rows)} trials: " + ", ".join(f"{count} {state}" for state, count in counts.items())


def escaped(text: Any) -> str:
    """``text`` so that Markdown shows it unchanged, on one line."""
    plain = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", plain)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [["" if cell is None else cell if cell == "---" else escaped(cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
