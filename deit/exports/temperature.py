"""Temperature scaling (Guo et al. 2017, section 4.2): one number that divides all logits, so that probabilities are honest.

It changes no prediction, only how confident it is. Dividing the logits is dividing the weights and biases of the heads, so an
export contains it in its heads: every program that uses the file gets calibrated logits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from deit.engine.reliability import Reliability
from deit.errors import UserError
from deit.exports.description import Calibration
from deit.models.shapes import HEADS

SMALLEST, LARGEST = 0.01, 100.0
_HALVINGS = 48  # of log(LARGEST / SMALLEST): a temperature to 13 digits
_ROWS = 1024  # images at a time


def calibrate(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """The temperature with the least mean cross entropy of ``logits`` [N, K] and ``labels`` [N].

    The derivative of the cross entropy by 1 / temperature only grows, so bisection finds its zero. Raises UserError (exit
    code 1) if there is none from SMALLEST to LARGEST.
    """
    low, high = math.log(1 / LARGEST), math.log(1 / SMALLEST)
    if not np.isfinite(logits).all():
        raise UserError("task.calibrate=true: the network's output is not finite on a validation image.", exit_code=1)
    if _slope(logits, labels, math.exp(low)) >= 0 or _slope(logits, labels, math.exp(high)) <= 0:
        top1 = 100 * float((logits.argmax(1) == labels).mean())
        raise UserError(
            f"task.calibrate=true: no temperature from {SMALLEST:g} to {LARGEST:g} has the least loss on the {len(labels)} "
            f"validation images, of which {top1:.2f} % are classified correctly. Give more validation images that it was not "
            "trained on, or task.calibrate=false. Nothing was kept.",
            exit_code=1,
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _slope(logits, labels, math.exp(middle)) > 0 else (middle, high)
    temperature = math.exp(-(low + high) / 2)
    (nll, ece), (nll_after, ece_after) = (_measured(logits, labels, value) for value in (1.0, temperature))
    return Calibration(temperature, len(labels), nll, nll_after, ece, ece_after)


def with_temperature(weights: Mapping[str, np.ndarray], temperature: float) -> dict[str, np.ndarray]:
    """The weights of a network whose logits are divided by ``temperature``."""
    return {
        name: (value / temperature).astype(value.dtype) if name.startswith(HEADS) else value for name, value in weights.items()
    }


def _slope(logits: np.ndarray, labels: np.ndarray, factor: float) -> float:
    """The derivative of the summed cross entropy by ``factor``, which multiplies the logits."""
    total = 0.0
    for start in range(0, len(labels), _ROWS):
        part, own = _part(logits, labels, start)
        total += float(((_shares(part * factor) * part).sum(1) - own).sum())
    return total


def _measured(logits: np.ndarray, labels: np.ndarray, temperature: float) -> tuple[float, float]:
    """Mean cross entropy, and expected calibration error in percent."""
    loss, reliability = 0.0, Reliability()
    for start in range(0, len(labels), _ROWS):
        part, own = _part(logits, labels, start)
        scaled = part / temperature
        most = scaled.max(1)
        logs = np.log(np.exp(scaled - most[:, None]).sum(1)) + most
        loss += float((logs - own / temperature).sum())
        reliability.add(np.exp(most - logs), part.argmax(1) == labels[start : start + _ROWS])
    return loss / len(labels), reliability.ece


def _part(logits: np.ndarray, labels: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Some rows in float64, and their logits of the true class."""
    part = logits[start : start + _ROWS].astype(np.float64)
    return part, np.take_along_axis(part, labels[start : start + _ROWS, None].astype(np.int64), 1)[:, 0]


def _shares(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
