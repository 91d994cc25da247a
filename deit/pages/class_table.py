"""Precision, recall and F1 of each class, from a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassRow:
    """One class; shares are fractions of 1, None without an image or a prediction that could say."""

    name: str
    images: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


def class_rows(matrix: np.ndarray, names: Sequence[str]) -> list[ClassRow]:
    """For counts int64 [K, K], rows true classes and columns predicted ones. Definitions of scikit-learn's
    ``precision_recall_fscore_support``, except that 0 / 0 is None.
    """
    right, images, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)

    def share(part: int, whole: int) -> float | None:
        return float(part) / float(whole) if whole else None

    return [
        ClassRow(
            name,
            int(images[label]),
            int(predicted[label]),
            share(right[label], predicted[label]),
            share(right[label], images[label]),
            share(2 * right[label], images[label] + predicted[label]),
        )
        for label, name in enumerate(names)
    ]
