"""Pictures of the best evaluation: the confusion matrix, the reliability diagram and the worst-classified images; and a page
of the training.

They are optional: an error in them is one event in the journal, and never ends a run. Drawing takes a second, so new bests in
quick succession are drawn once, and a short training draws only its last ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deit.config.schema import RunConfig
from deit.data.record import fingerprint
from deit.data.source import Dataset
from deit.data.transform import EvalTransform
from deit.engine.evaluation import Answers
from deit.errors import BadImage
from deit.files import write_json
from deit.inference import confusion, picture, reliability_diagram, thumbnail
from deit.pages import run_page
from deit.tasks.context import Context

EVERY = 60.0  # minimum seconds from the start to a drawing and between two, except the last one
WORST = 12  # images in the picture of the worst
MISTAKES = 24  # images on the page


class Figures:
    """Draws for one run, on rank 0, into ``figures/`` of the run directory.

    With several ranks it shows the images of rank 0, an even share of all, which the titles say.
    """

    def __init__(self, context: Context, data: Dataset) -> None:
        self._context, self._data = context, data
        self._waiting: dict[str, tuple[Answers, int]] = {}  # by the prefix of the metrics, with the step
        self._drawn = time.monotonic()
        self._broken = context.rank != 0

    def note_data(self, **splits: Dataset) -> None:
        """Write ``data.json``: name, counts, classes and a digest of each split."""
        try:
            if self._context.rank == 0:
                data = self._context.config.data
                write_json(
                    self._context.run.data,
                    {"name": data.name, "source": data.root or data.source}
                    | {split: fingerprint(dataset) for split, dataset in splits.items()},
                )
        except Exception as error:
            self._fail(error)

    def keep(self, prefix: str, answers: Answers, step: int) -> None:
        """Record a new best evaluation of the weights with this prefix, after ``step`` steps."""
        self._waiting[prefix] = (answers, step)
        if time.monotonic() - self._drawn >= EVERY:
            self.draw()

    def draw(self) -> None:
        """Draw what is pending."""
        waiting, self._waiting = self._waiting, {}
        for prefix, (answers, step) in waiting.items():
            if self._broken:
                return
            try:
                self._draw(prefix, answers, step)
            except Exception as error:
                self._fail(error)
        self._drawn = time.monotonic()

    def _draw(self, prefix: str, answers: Answers, step: int) -> None:
        folder = self._context.run.figures
        folder.mkdir(exist_ok=True)
        which = "EMA weights" if prefix.startswith("val_ema") else "raw weights"
        share = "" if self._context.world == 1 else f", the images of one of {self._context.world} processes"
        of = f"{self._context.config.data.name}, {which}, step {step}"
        title = f"{of}{share}"
        classes = self._data.classes
        confusion.draw(folder / f"confusion_{prefix}.png", answers.confusion(len(classes)), classes, title)
        found = answers.reliability  # of all processes
        reliability_diagram.draw(folder / f"reliability_{prefix}.png", found.sums, found.ece, of)
        worst = answers.worst(WORST)
        path = folder / f"worst_{prefix}.png"
        if worst:
            _draw_worst(path, self._context.config, self._data, worst, title)
        else:
            path.unlink(missing_ok=True)  # no image is misclassified any more
        write_json(folder / f"evaluation_{prefix}.json", self._record(answers, which, step, share))

    def _record(self, answers: Answers, which: str, step: int, share: str) -> dict[str, Any]:
        """The evaluation for ``deit.pages.run_page``."""
        matrix, reliability = answers.confusion(len(self._data.classes)), answers.reliability
        ece = reliability.ece
        found = {"sums": np.nan_to_num(reliability.sums).tolist(), "ece": ece if math.isfinite(ece) else None}
        return {
            "weights": which.removesuffix(" weights"),
            "step": step,
            "images": int(matrix.sum()),
            "share": share,
            "classes": self._data.classes,
            "matrix": [[int(row), int(column), int(matrix[row, column])] for row, column in np.argwhere(matrix)],
            "reliability": found,
            "mistakes": list(self._mistakes(answers)),
        }

    def _mistakes(self, answers: Answers) -> Iterator[dict[str, Any]]:
        for one in answers.confident(MISTAKES):
            if not math.isfinite(one["confidence"]):
                continue
            try:
                original = self._data.image(one["index"])
            except BadImage:
                continue
            numbers = {key: round(one[key], 4) for key in ("confidence", "own")}
            name = self._data.name(one["index"])
            yield {**one, **numbers, "name": name, "picture": thumbnail.data_uri(np.asarray(original))}

    def page(self, best: dict[str, dict[str, Any]]) -> None:
        """Draw what is pending, then write ``report.html`` of a training with these best results."""
        self.draw()
        if self._broken:
            return
        try:
            run_page.write(self._context.run, self._context.config, best)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._broken = True
        # An error of the journal must not end the run here: a full disk is handled elsewhere.
        try:
            self._context.report.event("figures", 0, problem=f"{type(error).__name__}: {error}")
        except Exception:
            return


def _draw_worst(path: Path, config: RunConfig, data: Dataset, worst: list[dict[str, Any]], title: str) -> None:
    transform, names, cards = EvalTransform(config), _names(data), []
    for one in worst:
        try:
            original = data.image(one["index"])
        except BadImage:
            continue
        said = [(names[one["predicted"]], one["confidence"]), (names[one["label"]], one["own"])]
        cards.append(picture.Card(np.asarray(original), transform(original), names[one["label"]], said))
    if cards:
        subtitle = ["highest loss first; left: the image and its class; right: the network's input and prediction"]
        picture.draw(path, f"worst of {title}", subtitle, cards)


def _names(data: Dataset) -> list[str]:
    """The class names, with a replacement if the font lacks a letter."""
    return [name if picture.drawable(name) else f"class {label}" for label, name in enumerate(data.classes)]
