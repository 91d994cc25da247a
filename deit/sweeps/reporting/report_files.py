"""``report.html``: a sweep on one page that needs no network, and the files next to it.

``deit.pages.page`` makes the page of the JSON here and the scripts in ``page/``. Overrides and messages are untrusted text.
"""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.resources import files
from typing import Any

from deit.config import frozen
from deit.console import console
from deit.files import write_text
from deit.machine.python import python_environment
from deit.pages.page import build
from deit.runs.sweep_directory import SweepDirectory
from deit.sweeps import trial_results
from deit.sweeps.reporting import links, summary
from deit.sweeps.reporting.curves import curves
from deit.sweeps.reporting.importance import Importance, importance
from deit.sweeps.reporting.links import Places
from deit.sweeps.reporting.parameters import parameters
from deit.sweeps.trial_results import Results, Row, against_best, with_intervals

# In order of their dependencies.
_SCRIPTS = ("colours.js", "select.js", "table.js", "plots.js", "gantt.js", "main.js")


def write(sweep: SweepDirectory) -> list[str]:
    """Write summary.csv, summary.md and report.html of ``sweep`` as it is now, each atomically; returns its links to MLflow."""
    found = trial_results.read(sweep)
    shares, there = importance(found), links.places([row.trial for row in found.rows])
    write_text(sweep.summary_csv, summary.csv_text(found))
    to_mlflow = links.lines(found, there, sweep.id)
    write_text(sweep.summary_md, summary.markdown(found, shares, to_mlflow))
    write_text(sweep.report, page(found, shares, there, sweep.id))
    return to_mlflow


def page(found: Results, shares: Importance, there: Places, sweep_id: str) -> str:
    """The whole page as text."""
    return build(
        f"Sweep {sweep_id}",
        _data(found, shares, there, sweep_id),
        [(files("deit.sweeps.reporting") / "page" / name).read_text(encoding="utf-8") for name in _SCRIPTS],
        instead="The plots and the table are drawn by scripts in this page. Without them see summary.md beside it.",
    )


def _data(found: Results, shares: Importance, there: Places, sweep_id: str) -> dict[str, Any]:
    info = found.info
    cells = [with_intervals(found.settings, place) for place in range(len(found.objectives))]
    return {
        "id": sweep_id,
        "command": summary.command(info),
        "created": summary.moment(info["created"]),
        "written": summary.moment(time.time()),
        "code": summary.code(info),
        "folder": info.get("folder"),
        "search": info.get("search"),
        "states": summary.states(found.rows),
        "objectives": [
            {"name": name, "direction": direction} for name, direction in zip(found.objectives, found.directions, strict=True)
        ],
        "parameters": [vars(parameter) | {"levels": parameter.levels} for parameter in parameters(found)],
        "trials": [_trial(row, there.url(row.trial.number)) for row in found.rows],
        "curves": {
            name: {number: [_short(x for x, _ in curve), _short(y for _, y in curve)] for number, curve in lines.items()}
            for name, lines in curves(found).items()
        },
        "importance": vars(shares) | {"shares": list(shares.shares.items())},
        "verdict": found.verdict(),
        "intervals": summary.intervals(found),
        "repeats": found.repeats,
        "settings": [
            {
                "label": setting.label,
                "trials": [row.trial.number for row in setting.rows],
                "mean": setting.mean,
                "deviation": setting.deviation,
                "texts": [cell[place] for cell in cells],
                "against_best": against_best(setting, found.settings[0]),
            }
            for place, setting in enumerate(found.settings)
        ],
        "cards": info["settings"].get("cards"),
        "card": _card(found),
    }


def _card(found: Results) -> str:
    """``slot`` on the CPU, else ``card``."""
    paths = [row.trial.directory.config for row in found.rows if row.trial.directory.config.exists()]
    return "slot" if paths and frozen.load(paths[0]).hardware.target == "cpu" else "card"


def _trial(row: Row, url: str | None) -> dict[str, Any]:
    trial = row.trial
    plain = ("number", "state", "label", "overrides", "message", "run", "cards")
    return {name: getattr(trial, name) for name in plain} | {
        "url": url,
        "rank": row.rank,
        "front": row.front,
        "objectives": row.objectives,
        "results": {name: float(f"{value:.6g}") for name, value in row.results.items()},
        "seconds": round(row.seconds, 1),
        "card_hours": row.card_seconds / 3600,
        "attempts": [
            vars(attempt) | {"began": round(began, 2), "ended": round(ended, 2), "open": attempt.ended is None}
            for attempt, (began, ended) in zip(trial.attempts, row.spans, strict=True)
        ],
    }


def _short(values: Any) -> list[float]:
    """Values with five digits, more than a pixel can show."""
    return [float(f"{value:.5g}") for value in values]


def show(sweep: SweepDirectory, *, mlflow: bool) -> None:
    """Write the files, print their paths and the trials' links to MLflow; with ``mlflow`` also send them there."""
    to_mlflow = write(sweep)
    for path in (sweep.report, sweep.summary_md, sweep.summary_csv):
        console().print(f"{sweep}/{path.name}")
    for line in to_mlflow:
        console().print(line)
    if to_mlflow and mlflow:
        sys.stdout.flush()
        subprocess.run(
            [sys.executable, "-m", "deit.sweeps.reporting.publish", str(sweep.path)], env=python_environment(), check=False
        )
