"""The reliability diagram as a picture: the accuracy of the images in each bin of confidence, and how many they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def draw(path: Path, sums: np.ndarray, ece: float, title: str) -> None:
    """Draw ``sums``, [3, bins]: images, correct images and summed confidences, into the PNG ``path``; ``ece`` in percent."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: takes half a second
    from matplotlib.figure import Figure

    images, right, confidence = sums
    filled, bins = images > 0, len(images)
    accuracy = np.divide(right, images, out=np.zeros(bins), where=filled)
    mean = np.divide(confidence, images, out=np.zeros(bins), where=filled)
    middle, width = (np.arange(bins) + 0.5) / bins, 1 / bins
    # Fixed margins: a layout engine measures every text twice, which takes half of the time.
    figure = Figure(figsize=(6.4, 7.2))
    figure.subplots_adjust(left=0.11, right=0.97, bottom=0.075, top=0.955, hspace=0.05)
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.bar(middle, accuracy, width, color="#2662b8", edgecolor="white", label="accuracy")
    upper.bar(
        middle[filled],
        (mean - accuracy)[filled],
        width,
        bottom=accuracy[filled],
        color="#e88a20",
        alpha=0.45,
        edgecolor="#e88a20",
        label="gap to the mean confidence",
    )
    upper.plot((0, 1), (0, 1), color="0.4", linestyle="--", linewidth=1, label="perfect calibration")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of correct images", title=title)
    upper.legend(loc="upper left", title=f"ECE {ece:.2f} %, {bins} bins")
    lower.bar(middle, images / max(images.sum(), 1), width, color="0.6", edgecolor="white")
    lower.set(xlabel="confidence: probability of the predicted class", ylabel="share of images")
    # Without matplotlib's version in the file, equal results are equal files.
    figure.savefig(path, dpi=120, metadata={"Software": None})
