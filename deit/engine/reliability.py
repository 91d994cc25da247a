"""Calibration of an evaluation: how well the probability of the predicted class agrees with the share of correct images."""

from __future__ import annotations

import numpy as np

BINS = 15


class Reliability:
    """Images by confidence, in BINS bins of equal width (Guo et al. 2017, "On Calibration of Modern Neural Networks").

    ``sums`` float64 [3, BINS]: images, correct images, and the sum of their confidences. A confidence on the border of two bins
    belongs to the lower one. The sums of several ranks add up to those of all images.
    """

    def __init__(self, sums: np.ndarray | None = None) -> None:
        self.sums = np.zeros((3, BINS)) if sums is None else np.asarray(sums, np.float64).reshape(3, BINS)

    def add(self, confidence: np.ndarray, right: np.ndarray) -> None:
        """Count images with these probabilities of their predicted class, and whether it is the true one; both [N]."""
        confidence = confidence.astype(np.float64)
        bins = np.clip(np.ceil(np.nan_to_num(confidence) * BINS).astype(np.int64) - 1, 0, BINS - 1)
        for row, values in enumerate((np.ones(len(bins)), right.astype(np.float64), confidence)):
            np.add.at(self.sums[row], bins, values)

    @property
    def ece(self) -> float:
        """The expected calibration error in percent: the mean over the images of |accuracy - confidence| of their bin.

        nan if a confidence is nan, or without images.
        """
        images, right, confidence = self.sums
        return float(100 * np.abs(right - confidence).sum() / images.sum()) if images.any() else float("nan")
