"""Accuracies of a training or an evaluation, raw and EMA side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from deit.launching.display import LABELS
from deit.runs.bad_images import listed
from deit.runs.directory import RunDirectory


def accuracy_table(
    run: RunDirectory,
    title: str,
    rows: Mapping[str, dict[str, Any]],
    last: str,
    teacher: dict[str, Any] | None = None,
) -> Table:
    """A row for each kind of weights, by the prefix of its metrics; ``last`` is the entry of the last column."""
    table = Table(title=title, title_justify="left")
    for column in ("weights", "top-1 %", "top-5 %", "loss", last):
        table.add_column(column, justify="left" if column == "weights" else "right")
    for prefix, entry in rows.items():
        table.add_row(LABELS[prefix], *_numbers(entry), str(entry[last]))
    if teacher is not None:
        table.add_row("teacher", *_numbers(teacher), "-")
    bad = listed(run.bad_images)
    if bad:
        table.caption_justify = "left"
        table.caption = f"{bad} bad image{'s' if bad > 1 else ''} left out: {run.bad_images.name}"
    return table


def _numbers(entry: dict[str, Any]) -> tuple[str, str, str]:
    return f"{entry['top1']:.3f}", f"{entry['top5']:.3f}", f"{entry['loss']:.4f}"
