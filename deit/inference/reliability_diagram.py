"""The reliability diagram as a picture: the accuracy of the images in each bin of confidence, and how many they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deit.chart import PAPER, TEXT, TITLE, Axes, Chart, Colour, length, marks, ticks

WIDTH, HEIGHT = 768, 864  # pixels
LEFT, RIGHT = 84, 744  # of both areas
BLUE, ORANGE, GREY, DARK = (38, 98, 184), (232, 138, 32), (153, 153, 153), (102, 102, 102)
CLEAR = 0.45  # the opacity of the gaps
DASHES = 80  # of the line of perfect calibration, with the spaces between them


def draw(path: Path, sums: np.ndarray, ece: float, title: str) -> None:
    """Draw ``sums``, [3, bins]: images, correct images and summed confidences, into the PNG ``path``; ``ece`` in percent."""
    images, right, confidence = sums
    filled, bins = images > 0, len(images)
    accuracy = np.divide(right, images, out=np.zeros(bins), where=filled)
    mean = np.divide(confidence, images, out=np.zeros(bins), where=filled)
    shares = images / max(images.sum(), 1)
    edges = np.linspace(0, 1, bins + 1)
    chart = Chart(max(WIDTH, length([title], TITLE) + 32), HEIGHT)
    chart.title((LEFT + RIGHT) / 2, 26, title)

    upper = Axes(chart, (LEFT, 38, RIGHT, 634))
    for number in np.flatnonzero(filled):
        place = (edges[number], edges[number + 1])
        upper.bar(place, (0, accuracy[number]), BLUE)
        if np.isfinite(mean[number]):
            upper.bar(place, (accuracy[number], mean[number]), ORANGE, CLEAR)
    for dash in range(0, DASHES, 2):
        upper.line([(dash / DASHES, dash / DASHES), ((dash + 1) / DASHES, (dash + 1) / DASHES)], DARK, 1.5)
    upper.frame()
    upper.mark_x([(value, "") for value in ticks(0, 1)])
    upper.mark_y(marks(ticks(0, 1)))
    chart.upright(20, (upper.top + upper.bottom) / 2, "share of correct images")
    _explain(chart, LEFT + 10, 48, f"ECE {ece:.2f} %, {bins} bins")

    highest = max(1.05 * float(np.nan_to_num(shares).max()), 1e-3)
    lower = Axes(chart, (LEFT, 656, RIGHT, 800), y=(0, highest))
    for number in np.flatnonzero(filled):
        lower.bar((edges[number], edges[number + 1]), (0, shares[number]), GREY)
    lower.frame()
    lower.mark_x(marks(ticks(0, 1)))
    lower.mark_y(marks(ticks(0, highest, 4)))
    chart.upright(20, (lower.top + lower.bottom) / 2, "share of images")
    chart.text((LEFT + RIGHT) / 2, HEIGHT - 8, "confidence: probability of the predicted class", "mb")
    chart.save(path)


def _explain(chart: Chart, left: int, top: int, heading: str) -> None:
    """The legend."""
    rows: tuple[tuple[str, Colour, float], ...] = (
        ("accuracy", BLUE, 1.0),
        ("gap to the mean confidence", ORANGE, CLEAR),
        ("perfect calibration", DARK, 1.0),
    )
    width = 62 + length([text for text, _, _ in rows])
    chart.rectangle(left, top, left + width, top + 4 * 25 + 8, PAPER, 0.85)
    chart.text(left + width / 2, top + 16, heading, "mm")
    for number, (text, colour, opacity) in enumerate(rows, 1):
        middle = top + 16 + 25 * number
        chart.text(left + 54, middle, text, "lm")
        if number < len(rows):
            chart.rectangle(left + 12, middle - TEXT / 2, left + 44, middle + TEXT / 2 - 3, colour, opacity)
        else:
            for dash in range(12, 44, 8):
                chart.rectangle(left + dash, middle - 1, left + dash + 5, middle + 1, colour)
