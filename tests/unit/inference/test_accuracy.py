"""Accuracy of predictions, counted as in an evaluation."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from composition import composed
from mindspore import Tensor

from deit.engine.evaluation import EvalStep
from deit.inference.accuracy import Tally, ranks


def test_ranks_of_ties_and_nan_equal_the_evaluation(graph_mode: None) -> None:
    logits = np.array([[1, 1, 0], [0, 1, 1], [1, np.nan, 0], [np.inf, 0, 0], [3, 2, 1], [0, 0, 0]], np.float32)
    labels = np.array([1, 1, 0, 0, 2, 0])

    class Given(ms.nn.Cell):
        def construct(self, images: Tensor) -> Tensor:
            return Tensor(logits)

    config = composed("experiment=quickstart", "hardware=cpu")
    one, five, *_ = EvalStep(config, Given())(Tensor(np.zeros((6, 2, 2, 3), np.uint8)), Tensor(labels.astype(np.int32)))
    assert ranks(logits, labels).tolist() == [1, 0, 3, 3, 2, 0]
    assert ((ranks(logits, labels) < 1) == one.asnumpy()).all()
    tally = Tally(3)
    tally.add(logits, labels)
    assert tally.top1 == pytest.approx(100 * one.asnumpy().mean()) and tally.images == 6
    # Three classes: whatever is finite is among the first five in both.
    assert tally.right5.sum() == 6 and five.asnumpy().sum() == 4
