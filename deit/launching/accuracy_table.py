"""Accuracies of a training or an evaluation, raw and EMA side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from deit.config import frozen
from deit.runs.bad_images import listed
from deit.runs.directory import RunDirectory
from deit.scores import LABELS, columns, shown


def accuracy_table(
    run: RunDirectory,
    title: str,
    rows: Mapping[str, dict[str, Any]],
    last: str,
    teacher: dict[str, Any] | None = None,
    *,
    calibration: bool = False,
) -> Table:
    """A row for each kind of weights, by the prefix of its metrics; ``last`` is the entry of the last column.

    ``calibration`` adds a column with the expected calibration error.
    """
    table = Table(title=title, title_justify="left")
    figures = columns(frozen.load(run.config).data.num_classes if run.config.is_file() else None)
    for column in ("weights", *figures, *(["ECE %"] if calibration else []), last):
        table.add_column(column, justify="left" if column == "weights" else "right")
    for prefix, entry in rows.items():
        ece = [f"{entry['ece']:.3f}"] if calibration else []
        table.add_row(LABELS[prefix], *(shown(entry, name) for name in figures.values()), *ece, str(entry[last]))
    if teacher is not None:
        table.add_row("teacher", *(shown(teacher, name) for name in figures.values()), "-")
    bad = listed(run.bad_images)
    if bad:
        table.caption_justify = "left"
        table.caption = f"{bad} bad image{'s' if bad > 1 else ''} left out: {run.bad_images.name}"
    return table
