"""A comparison as tables and as a picture."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from deit.commands import compare_table
from deit.comparison import accuracy_plot
from deit.comparison.results import ModelResult, PairResult, Results
from deit.runs import directory

ONE = ModelResult(
    "a [raw]",
    "deit_tiny",
    "MindSpore",
    "fp32",
    "raw",
    200,
    71.25,
    64.5,
    77.1,
    90.0,
    85.0,
    93.4,
    1.23456,
    12.5,
    80.0,
    22.9,
    5717416,
    1.258,
)
TWO = dataclasses.replace(ONE, label="b" * 50, weights=None, top1=70.0)
PAIR = PairResult("a [raw]", TWO.label, 1.25, -2.0, 4.5, 12, 9, "exact", None, 0.66, 0.66, 95.5, 0.912, "not significant")
RESULTS = Results("digits", 200, 10, 1, [ONE, TWO], [PAIR])


def test_brackets_in_labels_and_intervals_survive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run = directory.create(tmp_path, "compare")
    compare_table.show(run, RESULTS)
    out = capsys.readouterr().out
    for text in (
        "200 images of digits, 10 classes; 95 % intervals in brackets; 1 unusable and was left out",
        "a [raw]",
        "71.25 [64.50, 77.10]",
        "5,717,416",
        "MindSpore, fp32, raw weights",
        "+1.25 [-2.00, +4.50]",
        "12 : 9",
        "not significant",
        f"{run}/compare.json",
    ):
        assert text in out, text
    assert re.search(r"MindSpore, fp32\s*$", out, re.M) and "Holm" not in out  # one pair needs no correction


def test_long_lists_of_pairs_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = directory.create(tmp_path, "compare")
    compare_table.show(run, dataclasses.replace(RESULTS, pairs=[PAIR] * (compare_table.MOST_PAIRS + 2)))
    out = capsys.readouterr().out
    assert "and 2 more pairs in pairs.csv" in out and f"p corrected for {compare_table.MOST_PAIRS + 2} pairs (Holm)" in out


def test_equal_results_are_equal_pictures(tmp_path: Path) -> None:
    for name, results in (("1", RESULTS), ("2", RESULTS), ("3", dataclasses.replace(RESULTS, models=[TWO, ONE]))):
        accuracy_plot.draw(tmp_path / f"{name}.png", results)
    first, second, third = ((tmp_path / f"{name}.png").read_bytes() for name in "123")
    assert first == second != third and first.startswith(b"\x89PNG")
