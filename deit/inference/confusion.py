"""The confusion matrix as a picture: rows are true classes, columns predicted ones, each row as shares of its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deit.inference.picture import drawable

NAMED = 40  # maximum number of classes with names
COUNTED = 20  # maximum number of classes with counts in the cells


def draw(path: Path, matrix: np.ndarray, classes: Sequence[str], title: str) -> None:
    """Draw ``matrix``, counts [K, K], into the PNG ``path``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: takes half a second
    from matplotlib.figure import Figure

    total = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, total, out=np.zeros(matrix.shape), where=total > 0)
    side = min(14.0, 3.4 + 0.42 * min(len(classes), NAMED))
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the class's images")
    axes.set_title(title)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true class")
    if len(classes) <= NAMED:
        known = [name if drawable(name) else f"class {label}" for label, name in enumerate(classes)]
        names = [name if len(name) <= 20 else f"{name[:19]}…" for name in known]
        upright = max(map(len, names)) > 3
        axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0)
        axes.set_yticks(range(len(names)), names)
    if len(classes) <= COUNTED:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            count = axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour, fontsize=9)
            count.set_in_layout(False)  # measuring the texts of all cells takes a third of the time
    # Without matplotlib's version in the file, equal matrices are equal files.
    figure.savefig(path, dpi=120, metadata={"Software": None})
