"""The confusion matrix as a picture: rows are true classes, columns predicted ones, each row as shares of its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from deit.chart import INK, PAPER, TEXT, TITLE, Axes, Chart, drawable, length, marks, ticks

NAMED = 40  # maximum number of classes with names
COUNTED = 20  # maximum number of classes with counts in the cells
# All in pixels.
MARGIN, LINE = 16, 32
AREA = 1200  # of classes without names
NARROW, WIDE = 30, 96  # cells of classes with names
BAR = 24
# From 0 to 1 in equal steps: "Blues" of ColorBrewer.
BLUES = (
    *((247, 251, 255), (222, 235, 247), (198, 219, 239), (158, 202, 225), (107, 174, 214)),
    *((66, 146, 198), (33, 113, 181), (8, 81, 156), (8, 48, 107)),
)


def draw(path: Path, matrix: np.ndarray, classes: Sequence[str], title: str) -> None:
    """Draw ``matrix``, counts [K, K], into the PNG ``path``."""
    total = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, total, out=np.zeros(matrix.shape), where=total > 0)
    count = len(classes)
    cell = max(1.5 * NARROW if count <= COUNTED else NARROW, min(WIDE, 640 / count))
    side = round(count * cell) if count <= NAMED else AREA
    names = _names(classes) if count <= NAMED else []
    upright = max(map(len, names), default=0) > 3
    beside = length(names or [str(count)])
    left, top = MARGIN + LINE + beside + 16, MARGIN + LINE
    below = 16 + (length(names) if upright else TEXT) + LINE + MARGIN
    bar = left + side + LINE
    width = max(bar + BAR + 16 + length(["0.0"]) + LINE + MARGIN, 2 * MARGIN + length([title], TITLE))
    chart = Chart(width, top + side + below)
    chart.title(left + side / 2, top - 12, title)

    colours = Image.fromarray(_blue(shares)).resize((side, side), Image.Resampling.NEAREST)
    chart.image.paste(colours, (left, top))
    area = Axes(chart, (left, top, left + side, top + side), (-0.5, count - 0.5), (count - 0.5, -0.5))
    area.frame()
    named = list(enumerate(names)) or marks(ticks(0, count - 1))
    area.mark_x(named, upright=upright)
    area.mark_y(named)
    chart.text(left + side / 2, top + side + below - MARGIN, "predicted", "mb")
    chart.upright(MARGIN + TEXT / 2, top + side / 2, "true class")
    if count <= COUNTED:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            text, size = f"{matrix[row, column]}", TEXT - 1
            while length([text], size) > cell - 4 and size > 6:
                size -= 1
            colour = PAPER if shares[row, column] > 0.5 else INK
            chart.text(area.x(column), area.y(row), text, "mm", size=size, colour=colour)

    scale = Axes(chart, (bar, top + side // 10, bar + BAR, top + side - side // 10))
    height = scale.bottom - scale.top
    gradient = _blue(np.linspace(1, 0, height)[:, None].repeat(BAR, 1))
    chart.image.paste(Image.fromarray(gradient), (scale.left, scale.top))
    scale.frame()
    scale.mark_y(marks(ticks(0, 1)), right=True)
    chart.upright(scale.right + 16 + length(["0.0"]) + LINE / 2, top + side / 2, "share of the class's images")
    chart.save(path)


def _names(classes: Sequence[str]) -> list[str]:
    """The names of the classes, short enough and of letters that can be drawn."""
    known = [name if drawable(name) else f"class {label}" for label, name in enumerate(classes)]
    return [name if len(name) <= 20 else f"{name[:19]}…" for name in known]


def _blue(shares: np.ndarray) -> np.ndarray:
    """The colours, uint8 [h, w, 3], of shares [h, w]."""
    places = np.linspace(0, 1, len(BLUES))
    return np.stack([np.interp(shares, places, channel) for channel in np.transpose(BLUES)], -1).round().astype(np.uint8)
