"""From logits to probabilities and the most likely classes, the same in a prediction file and in a served response."""

from __future__ import annotations

import numpy as np


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits [N, K], float64; a row that is not finite becomes nan."""
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)


def likeliest(shares: np.ndarray, topk: int) -> np.ndarray:
    """The labels of the ``topk`` (at most K) highest probabilities [N, K], the highest first: int64 [N, topk].

    Ties are in the order of the classes, as in the accuracy.
    """
    return np.argsort(-shares, axis=1, kind="stable")[:, :topk]
