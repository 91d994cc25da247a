"""The printed result of a comparison: accuracies, speed and size, pairs, and the files."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from deit.comparison import output_files
from deit.comparison.results import Results
from deit.console import console
from deit.runs.directory import RunDirectory

WEIGHTS = {"raw": "raw weights", "ema": "EMA weights"}
MOST_PAIRS = 15  # a sweep has more pairs than anybody reads


def show(run: RunDirectory, results: Results) -> None:
    """Print ``results``; pairs are given by the numbers of the models in the tables above."""
    said = f"{results.images:,} images of {results.data}, {results.classes} classes; 95 % intervals in brackets"
    if results.left_out:
        said += f"; {results.left_out} unusable and {'was' if results.left_out == 1 else 'were'} left out"
    for text, table in (
        (said, _accuracies(results)),
        ("speed and size", _costs(results)),
        (_of_pairs(results), _pairs(results)),
    ):
        console().print()
        console().print(text)
        console().print(table)
    if len(results.pairs) > MOST_PAIRS:
        console().print(f"and {len(results.pairs) - MOST_PAIRS} more pairs in {output_files.PAIRS}")
    console().print()
    for name in output_files.FILES:
        console().print(f"{run}/{name}")


def _of_pairs(results: Results) -> str:
    corrected = f", p corrected for {len(results.pairs)} pairs (Holm)" if len(results.pairs) > 1 else ""
    return f"pairs: McNemar's test{corrected}; right: images that only the first, only the second classifies correctly"


def _accuracies(results: Results) -> Table:
    rows = [
        (
            f"{number}",
            one.label,
            f"{one.top1:.2f} [{one.top1_low:.2f}, {one.top1_high:.2f}]",
            f"{one.top5:.2f} [{one.top5_low:.2f}, {one.top5_high:.2f}]",
            f"{one.loss:.4f}",
        )
        for number, one in enumerate(results.models, 1)
    ]
    return _table(("", "model", "top-1 %", "top-5 %", "loss"), rows, left=(1,))


def _costs(results: Results) -> Table:
    rows = [
        (
            f"{number}",
            one.label,
            f"{one.ms_per_image:.2f}",
            f"{one.images_per_s:,.0f}",
            f"{one.megabytes:.2f}",
            f"{one.parameters:,}",
            f"{one.gmacs:.3f}",
            f"{one.computed_by}, {one.precision}" + (f", {WEIGHTS[one.weights]}" if one.weights else ""),
        )
        for number, one in enumerate(results.models, 1)
    ]
    names = ("", "model", "ms per image", "images/s", "MB", "parameters", "GMACs", "computed by")
    return _table(names, rows, left=(1, 7))


def _pairs(results: Results) -> Table:
    number_of = {one.label: number for number, one in enumerate(results.models, 1)}
    rows = [
        (
            f"{number_of[pair.first]} - {number_of[pair.second]}",
            f"{pair.difference:+.2f} [{pair.low:+.2f}, {pair.high:+.2f}]",
            f"{pair.only_first_right} : {pair.only_second_right}",
            f"{pair.agreement:.2f} %",
            f"{pair.kappa:.3f}",
            pair.verdict,
        )
        for pair in results.pairs[:MOST_PAIRS]
    ]
    return _table(("", "top-1, points", "right", "same answer", "kappa", "verdict"), rows, left=(0, 5))


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]) -> Table:
    """A table without lines; the columns ``left`` are text, the others numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for number, name in enumerate(names):
        table.add_column(name, justify="left" if number in left else "right", overflow="fold", no_wrap=number not in left)
    for row in rows:
        table.add_row(*map(Text, row))  # as Text, because labels and intervals contain brackets
    return table
