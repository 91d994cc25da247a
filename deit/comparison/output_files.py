"""The files of a comparison, in its run directory; the same go to MLflow.

compare.json         all results and methods
compare.csv          a line for each model
pairs.csv            a line for each pair of models
compare.png          accuracies with their intervals
disagreements.csv    the images with different predictions, with each model's prediction
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from deit.comparison import accuracy_plot
from deit.comparison.answers import NONE, Answers
from deit.comparison.results import ModelResult, PairResult, Results
from deit.files import write_json, write_text
from deit.inference.accuracy import csv_text
from deit.runs.directory import RunDirectory

JSON, MODELS, PAIRS, PICTURE, DISAGREEMENTS = "compare.json", "compare.csv", "pairs.csv", "compare.png", "disagreements.csv"
FILES = (JSON, MODELS, PAIRS, PICTURE, DISAGREEMENTS)


def write(run: RunDirectory, results: Results, answers: Sequence[Answers], classes: Sequence[str]) -> None:
    """Write all files; ``classes`` are the names of the labels."""
    write_text(run.path / MODELS, _table(ModelResult, results.models))
    write_text(run.path / PAIRS, _table(PairResult, results.pairs))
    write_text(run.path / DISAGREEMENTS, disagreements([model.label for model in results.models], answers, classes))
    accuracy_plot.draw(run.path / PICTURE, results)
    write_json(run.path / JSON, results.to_dict())


def disagreements(labels: Sequence[str], answers: Sequence[Answers], classes: Sequence[str]) -> str:
    """CSV: image, label, and a column for each model's prediction. ``(none)`` means logits that are not finite."""
    rows: list[list[object]] = [["image", "label", *labels]]
    predicted = np.stack([one.predicted for one in answers])
    for number in np.flatnonzero((predicted != predicted[0]).any(0)):
        said = ["(none)" if answer == NONE else classes[answer] for answer in predicted[:, number]]
        rows.append([answers[0].names[number], classes[answers[0].labels[number]], *said])
    return csv_text(rows)


def _table(kind: type, rows: Sequence[ModelResult] | Sequence[PairResult]) -> str:
    names = [field.name for field in dataclasses.fields(kind)]
    return csv_text([names, *([_value(getattr(row, name)) for name in names] for row in rows)])


def _value(value: object) -> object:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
