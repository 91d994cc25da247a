"""Accuracy of predictions, counted as in an evaluation: top-1, top-5, per class, and the confusion matrix."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from deit.scores import balanced_accuracy, macro_f1


def ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rank of the true class, int64 [N], for logits [N, K] and labels [N].

    As in ``deit.engine.evaluation``: equal logits go to the lower class, and logits that are not all finite are never correct
    (rank K).
    """
    own = np.take_along_axis(logits, labels[:, None], 1)
    lower = np.arange(logits.shape[1]) < labels[:, None]
    ahead = (logits > own) | ((logits == own) & lower)
    return np.where(np.isfinite(logits).all(1), ahead.sum(1), logits.shape[1])


class Tally:
    """Counts over all labelled images of a prediction."""

    def __init__(self, num_classes: int) -> None:
        # Rows are true classes, columns predicted ones; the last column is "none", for logits that are not finite.
        self.confusion = np.zeros((num_classes, num_classes + 1), np.int64)
        self.right5 = np.zeros(num_classes, np.int64)

    def add(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Count images with logits float32 [N, K] and labels int64 [N]."""
        sane = np.isfinite(logits).all(1)
        predicted = np.where(sane, np.nan_to_num(logits).argmax(1), logits.shape[1])
        np.add.at(self.confusion, (labels, predicted), 1)
        np.add.at(self.right5, labels[ranks(logits, labels) < 5], 1)

    @property
    def images(self) -> int:
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """In percent; nan without images."""
        return 100 * int(np.trace(self.confusion)) / self.images if self.images else float("nan")

    @property
    def top5(self) -> float:
        return 100 * int(self.right5.sum()) / self.images if self.images else float("nan")

    @property
    def balanced_accuracy(self) -> float:
        """In percent, as ``deit.scores`` defines it."""
        return balanced_accuracy(self.confusion.diagonal().tolist(), self.confusion.sum(1).tolist())

    @property
    def macro_f1(self) -> float:
        """In percent, as ``deit.scores`` defines it."""
        predicted = self.confusion[:, :-1].sum(0)
        return macro_f1(self.confusion.diagonal().tolist(), predicted.tolist(), self.confusion.sum(1).tolist())

    def log(self) -> str:
        """The two lines of the ModelZoo's ``acc.log``, as fractions of 1."""
        return f"Top1 acc: {self.top1 / 100:.5f}\nTop5 acc: {self.top5 / 100:.5f}\n"

    def per_class(self, classes: Sequence[str]) -> str:
        """CSV with a line for each class that has images; accuracies in percent."""
        rows: list[list[object]] = [["class", "images", "top1", "top5"]]
        for label, name in enumerate(classes):
            images = int(self.confusion[label].sum())
            if images:
                right1, right5 = int(self.confusion[label, label]), int(self.right5[label])
                rows.append([name, images, f"{100 * right1 / images:.3f}", f"{100 * right5 / images:.3f}"])
        return csv_text(rows)

    def matrix(self, classes: Sequence[str]) -> str:
        """CSV of the confusion matrix: rows are true classes, columns predicted ones; ``(none)`` only if there are any."""
        columns = self.confusion if self.confusion[:, -1].any() else self.confusion[:, :-1]
        names = [*classes, "(none)"][: columns.shape[1]]
        return csv_text([["", *names], *([name, *row.tolist()] for name, row in zip(classes, columns, strict=True))])


def csv_text(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
