"""The confusion matrix as a picture: rows are true classes, columns predicted ones, each row as shares of its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deit.inference.picture import drawable

NAMED = 40  # maximum number of classes with names
COUNTED = 20  # maximum number of classes with counts in the cells
LETTER = 0.09  # inches of a letter of a name, on average


def draw(path: Path, matrix: np.ndarray, classes: Sequence[str], title: str) -> None:
    """Draw ``matrix``, counts [K, K], into the PNG ``path``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: takes half a second
    from matplotlib.figure import Figure

    total = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, total, out=np.zeros(matrix.shape), where=total > 0)
    known = [name if drawable(name) else f"class {label}" for label, name in enumerate(classes)]
    names = [name if len(name) <= 20 else f"{name[:19]}…" for name in known] if len(classes) <= NAMED else []
    longest = max(map(len, names), default=4)
    upright = bool(names) and longest > 3
    # In inches. Fixed places: a layout engine measures every text twice, which takes half of the time.
    side = min(14.0, 2.4 + 0.42 * min(len(classes), NAMED))
    left, bottom = 0.6 + LETTER * longest, 0.6 + (LETTER * longest if upright else 0.1)
    width, height = max(left + side + 1.3, LETTER * len(title)), bottom + side + 0.4
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    bar = figure.add_axes(((left + side + 0.3) / width, (bottom + side / 10) / height, 0.25 / width, 0.8 * side / height))
    figure.colorbar(image, cax=bar, label="share of the class's images")
    axes.set_title(title)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true class")
    if names:
        axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0)
        axes.set_yticks(range(len(names)), names)
    if len(classes) <= COUNTED:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", color=colour, fontsize=9)
    # Without matplotlib's version in the file, equal matrices are equal files.
    figure.savefig(path, dpi=120, metadata={"Software": None})
