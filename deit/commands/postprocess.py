"""``task=postprocess``: accuracy and predictions from the ``.bin`` results of a device, for the inputs of ``task=preprocess``.

RESULTS/00000012_cat_7_0.bin       float32 [K], logits
"""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deit.commands.inference import shown_results
from deit.commands.preprocess import DESCRIPTION, FORMAT, LABELS
from deit.commands.task import Task
from deit.compose.unused_keys import Unused
from deit.config.schema import RunConfig
from deit.config.tasks import PostprocessTask
from deit.console import console
from deit.errors import UserError
from deit.inference.images import Images
from deit.inference.prediction import Answers, write_predictions
from deit.inference.writing import check_output, output_of
from deit.runs.create import create
from deit.runs.directory import check_new_folder

AT_ONCE = 64  # results read at a time
RESULT = "_0.bin"  # suffix that the programs of ModelZoo and Lite append to an input's name


class Postprocess(Task[PostprocessTask]):
    is_trial = False
    takes = ()
    instead = "task.input contains everything it needs; leave out {}."
    obeys = ()

    def unused(self, found: Unused) -> None:
        found.all_but("tracking")
        found.with_task("seed", "weights_dir")

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:
        task = self.of(config)
        described, _, inputs = _read(task)
        _results(task, inputs, len(described["classes"]))
        if task.output is not None:
            check_output(task.output)
        check_new_folder(config.runs_dir, _name(config, described))
        return config

    def outline(self, config: RunConfig, *, starts: bool) -> None:
        task = self.of(config)
        console().print(f"would evaluate the results in {task.results} of the inputs in {task.input}")

    def run(self, config: RunConfig, typed: list[str]) -> int:
        """Evaluate the results, write a run directory like that of a prediction, and show it; returns the exit code, 0.

        Missing results are named and left out. Raises UserError, before anything is written, if the folders are not those of
        a preprocessing and its results.
        """
        task = self.of(config)
        described, images, inputs = _read(task)
        classes = described["classes"]
        results = _results(task, inputs, len(classes))
        if task.output is not None:
            task = dataclasses.replace(task, output=str(check_output(task.output)))
        run = create(dataclasses.replace(config, task=task, name=_name(config, described)), typed)
        answers, output = _answers(inputs, results, len(classes)), output_of(task.output, run)
        try:
            found = write_predictions(answers, images, classes, config, output=output, folder=run.path, topk=task.topk)
        except UserError:
            shutil.rmtree(run.path)
            raise
        console().print(shown_results(run, found))
        console().print(f"the run directory is {run}")
        return 0


def _name(config: RunConfig, described: dict[str, Any]) -> str:
    """That of the run: the configured one, else that of the model."""
    name: str = described["model"] if config.name == config.model.name else config.name
    return name


def _read(task: PostprocessTask) -> tuple[dict[str, Any], Images, list[str]]:
    """The output of task=preprocess: its description, the images, and the names of their inputs."""
    folder = Path(task.input)
    named = f"task.input={task.input}"
    try:
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        with open(folder / LABELS, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if described["format"] != FORMAT:
            raise UserError(f"{named}: has format {described['format']}, this program reads format {FORMAT}.")
        labels = np.array([int(row["label"]) for row in rows], np.int64) if described["labelled"] else None
        names, inputs = [row["image"] for row in rows], [row["input"] for row in rows]
        classes = [str(name) for name in described["classes"]]
        if not rows or (labels is not None and not ((labels >= 0) & (labels < len(classes))).all()):
            raise ValueError("labels.csv has no rows, or labels beyond the classes")
    except FileNotFoundError as error:
        raise UserError(f"{named}: not a folder of task=preprocess, {Path(error.filename).name} is missing.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{named}: damaged ({error}).") from None
    return described | {"classes": classes}, Images(names, names, labels), inputs


def _results(task: PostprocessTask, inputs: list[str], classes: int) -> Path:
    """The folder of results. Raises UserError if it has no result for these inputs, or one of the wrong size."""
    folder = Path(task.results)
    if not folder.is_dir():
        raise UserError(f"task.results={task.results}: no such folder.")
    sizes = {name: path.stat().st_size for name in inputs if (path := folder / _result_name(name)).is_file()}
    if not sizes:
        raise UserError(
            f"task.results={task.results}: contains neither {_result_name(inputs[0])} nor another result of the {len(inputs)} "
            f"inputs in {task.input}; the result of NAME.bin is NAME{RESULT}."
        )
    wrong = next((name for name, size in sizes.items() if size != 4 * classes), None)
    if wrong is not None:
        raise UserError(
            f"task.results: {folder / _result_name(wrong)} has {sizes[wrong]} bytes, but {classes} logits in float32 are "
            f"{4 * classes}."
        )
    return folder


def _answers(inputs: list[str], folder: Path, classes: int) -> Iterator[Answers]:
    for start in range(0, len(inputs), AT_ONCE):
        rows, logits, missing = [], [], {}
        for row, name in enumerate(inputs[start : start + AT_ONCE], start):
            path = folder / _result_name(name)
            try:
                values = np.fromfile(path, np.float32)
            except OSError as error:
                missing[row] = f"{path}: no result ({error.strerror})."
                continue
            rows.append(row)
            logits.append(values)
        yield Answers(rows, np.stack(logits) if logits else np.zeros((0, classes), np.float32), missing)


def _result_name(name: str) -> str:
    return Path(name).stem + RESULT


TASK = Postprocess()
