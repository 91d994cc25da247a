"""The results of a comparison: each model, and each pair; the content of ``compare.json``."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deit.comparison import statistics
from deit.comparison.answers import Answers
from deit.errors import UserError

METHODS = {
    "intervals of accuracies": "95 %, Wilson score (Wilson 1927)",
    "intervals of differences": "95 %, paired square-and-add (Newcombe 1998, Statistics in Medicine 17:2635, method 10)",
    "test": "McNemar 1947, two-sided: exact binomial below 25 discordant images, else chi-squared with continuity correction",
    "p of several pairs": "corrected by Holm 1979; a difference is significant if that p is below 0.05",
    "agreement": "share of images with the same top-1 answer, right or wrong; kappa: Cohen 1960",
    "speed": "the network alone, from pixels to logits, on whole batches in a warm process of its own, one model after another",
}

# What MLflow gets of a model, and of a pair.
_SENT = ("top1", "top1_low", "top1_high", "top5", "loss", "ms_per_image", "images_per_s", "megabytes", "parameters", "gmacs")
_SENT_OF_PAIRS = ("difference", "low", "high", "p", "p_holm", "agreement", "kappa")


@dataclass(frozen=True)
class ModelResult:
    """One model: accuracies and their limits in percent, mean cross entropy, milliseconds per image, and its size."""

    label: str
    model: str
    computed_by: str
    precision: str
    weights: str | None  # raw or ema, if known
    images: int
    top1: float
    top1_low: float
    top1_high: float
    top5: float
    top5_low: float
    top5_high: float
    loss: float
    ms_per_image: float
    images_per_s: float
    megabytes: float  # 10^6 bytes, of the file
    parameters: int
    gmacs: float
    mlflow_run: str | None = None
    mlflow_url: str | None = None


@dataclass(frozen=True)
class PairResult:
    """Two models: ``difference`` is top-1 of the first minus that of the second, in points; ``agreement`` is in percent.

    ``p_holm`` is ``p`` corrected for all pairs; ``verdict`` is the conclusion in words.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    only_first_right: int
    only_second_right: int
    test: str
    statistic: float | None
    p: float
    p_holm: float
    agreement: float
    kappa: float
    verdict: str


@dataclass(frozen=True)
class Results:
    """``images`` is the number of counted images, ``classes`` of classes, ``left_out`` of unusable images."""

    data: str
    images: int
    classes: int
    left_out: int
    models: list[ModelResult]
    pairs: list[PairResult]

    def to_dict(self) -> dict[str, Any]:
        return {"format": 1, **dataclasses.asdict(self), "methods": METHODS}

    def metrics(self) -> dict[str, float]:
        """For MLflow: ``compare/<label>/top1`` and so on, ``pairs/<first> vs <second>/difference`` and so on."""
        found = {f"compare/{one.label}/{key}": float(getattr(one, key)) for one in self.models for key in _SENT}
        for pair in self.pairs:
            found |= {f"pairs/{pair.first} vs {pair.second}/{key}": float(getattr(pair, key)) for key in _SENT_OF_PAIRS}
        return found


def accuracy(right: np.ndarray) -> tuple[float, float, float]:
    """The share of bool [N] and its limits, in percent."""
    count = int(right.sum())
    limits = statistics.wilson(count, len(right))
    # As in Accuracy and Tally, so that equal counts are equal numbers.
    return 100 * count / len(right), 100 * limits.low, 100 * limits.high


def check_same_images(labels: Sequence[str], answers: Sequence[Answers]) -> None:
    """Raise UserError (exit code 1) if two models have predicted different images: the data have changed meanwhile."""
    first = answers[0]
    for label, other in zip(labels[1:], answers[1:], strict=True):
        if np.array_equal(first.names, other.names) and np.array_equal(first.labels, other.labels):
            continue
        apart = sorted(set(first.names.tolist()) ^ set(other.names.tolist()))
        which = f"{apart[0]} was predicted by only one of them" if apart else "their order or labels differ"
        raise UserError(
            f"{labels[0]} predicted {len(first)} images and {label} {len(other)}, not the same: {which}. The data have changed "
            "during the comparison; compare again.",
            exit_code=1,
        )


def pairs(labels: Sequence[str], answers: Sequence[Answers]) -> list[PairResult]:
    """Each pair, in the order of the models."""
    names, of = list(itertools.combinations(labels, 2)), list(itertools.combinations(answers, 2))
    # How many images both, only the first, only the second, and neither classifies correctly.
    counts = [np.bincount(2 * ~one.right + ~other.right, minlength=4).tolist() for one, other in of]
    tests = [statistics.mcnemar(*only) for _, *only, _ in counts]
    return list(map(_pair, names, of, counts, tests, statistics.holm([test.p for test in tests])))


def _pair(
    names: tuple[str, str], of: tuple[Answers, Answers], counts: list[int], test: statistics.Test, p_holm: float
) -> PairResult:
    limits, (_, only_first, only_second, _) = statistics.paired_difference(*counts), counts
    agreement = float(np.mean(of[0].predicted == of[1].predicted))
    points = 100 * (only_first - only_second) / len(of[0])
    return PairResult(
        *names,
        points,
        100 * limits.low,
        100 * limits.high,
        only_first,
        only_second,
        test.name,
        test.statistic,
        test.p,
        p_holm,
        100 * agreement,
        statistics.kappa(of[0].predicted, of[1].predicted),
        verdict(names, points, p_holm, agreement),
    )


def verdict(names: tuple[str, str], points: float, p: float, agreement: float) -> str:
    """The conclusion of the test in words."""
    if agreement == 1:
        return "the same prediction for every image"
    if p >= statistics.ALPHA:
        return f"not significant, p = {shown_p(p)}"
    better = names[0] if points > 0 else names[1]
    return f"{better} is better, p {'' if p < 0.001 else '= '}{shown_p(p)}"


def shown_p(p: float) -> str:
    """``0.41``, ``0.0032``, ``< 0.001``."""
    if p < 0.001:
        return "< 0.001"
    return f"{p:.2f}" if p >= 0.1 else f"{p:.{1 - math.floor(math.log10(p))}f}"
