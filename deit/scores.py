"""The scores of an evaluation: how they are shown, and those that unequal classes do not distort, as scikit-learn's.

Standard library only, since every part uses it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

# The columns of a table, and the key of each in the results of an evaluation; all but the loss are in percent.
COLUMNS = {"top-1 %": "top1", "top-5 %": "top5", "balanced %": "balanced_accuracy", "macro F1 %": "macro_f1", "loss": "loss"}
NAMES = tuple(COLUMNS.values())
PERCENT = tuple(name for name in NAMES if name != "loss")
# The evaluated weights, and heads of a distilled model, by the prefix of their metrics.
LABELS = {"val": "raw", "val_ema": "EMA"}
LABELS |= {
    f"{prefix}_{short}": f"{label}, {head} head"
    for prefix, label in LABELS.items()
    for short, head in (("cls", "class"), ("dist", "distillation"))
}


def macro_f1(right: Sequence[int], predicted: Sequence[int], images: Sequence[int]) -> float:
    """In percent, the mean over classes of F1, the harmonic mean of precision and recall (``f1_score(average="macro")``).

    For each class the number of ``right`` predictions, of predictions, and of its images. A class with neither images nor
    predictions does not count; nan without any.
    """
    return _mean([(2 * hits, answers + of) for hits, answers, of in zip(right, predicted, images, strict=True)])


def balanced_accuracy(right: Sequence[int], images: Sequence[int]) -> float:
    """In percent, the mean over classes of the accuracy on their images (``balanced_accuracy_score``).

    Classes without images do not count; nan without images.
    """
    return _mean(list(zip(right, images, strict=True)))


def has_top5(classes: int | None) -> bool:
    """Whether top-5 of so many classes says anything; None: unknown."""
    return classes is None or classes > 5


def columns(classes: int | None) -> dict[str, str]:
    """The ``COLUMNS`` that say something about so many classes."""
    return {column: name for column, name in COLUMNS.items() if name != "top5" or has_top5(classes)}


def shown(entry: Mapping[str, Any], name: str) -> str:
    """One figure of an evaluation; ``-`` where an older program did not record it."""
    return f"{entry[name]:{'.4f' if name == 'loss' else '.3f'}}" if name in entry else "-"


def rank(entry: Mapping[str, Any], name: str) -> float:
    """A number that is higher for better evaluations, by one of their figures; -inf where that is unknown or not finite."""
    value = float(entry.get(name, math.nan))
    return (-value if name == "loss" else value) if math.isfinite(value) else -math.inf


def spoken(entry: Mapping[str, Any], name: str) -> str:
    """One figure of an evaluation in a sentence: ``98.31 %``, ``0.1808``."""
    return f"{entry[name]:.4f}" if name == "loss" else f"{entry[name]:.2f} %"


def label(name: str) -> str:
    """A figure's name in a sentence: ``top-1``, ``macro F1``."""
    return next(column for column, known in COLUMNS.items() if known == name).removesuffix(" %")


def _mean(fractions: Sequence[tuple[int, int]]) -> float:
    known = [100 * part / whole for part, whole in fractions if whole > 0]
    return sum(known) / len(known) if known else float("nan")
