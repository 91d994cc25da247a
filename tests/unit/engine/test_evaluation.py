"""The evaluation against NumPy: counted images, ties, NaN, scores by class, loss."""

from __future__ import annotations

import numpy as np
import pytest
from composition import composed
from mindspore import Tensor, nn
from trainer import TINY, batch, trainer_of

from deit.data.loader import EvalBatch
from deit.engine.evaluation import Answers, EvalStep, evaluate

pytestmark = pytest.mark.usefixtures("graph_mode")


class _Logits(nn.Cell):
    """Answers logits that are the first pixels of the image: an evaluation with known answers."""

    def construct(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :10]


def _eval_batch(logits: np.ndarray, labels: list[int], valid: list[bool]) -> EvalBatch:
    images = np.zeros((len(labels), 16, 16, 3), np.uint8)
    images[:, 0, :10, 0] = logits
    return EvalBatch(images, np.array(labels, np.int32), np.array(valid), np.arange(len(labels)))


def test_evaluation_counts_valid_images_and_gives_ties_to_the_lower_class() -> None:
    step = EvalStep(composed(*TINY), _Logits())
    rows = np.zeros((4, 10), np.uint8)
    rows[0, 3] = 9  # right at 1
    rows[1, :5] = [9, 8, 7, 6, 5]  # class 4 is fifth: right at 5
    # Rows 2 and 3 answer the same for all classes: only class 0 counts as first, 0 to 4 as among five.
    first = evaluate(step, [_eval_batch(rows, [3, 4, 0, 9], [True] * 4)], 1)
    assert (first.top1, first.top5, first.images) == (50.0, 75.0, 4)
    answers = Answers()
    padded = evaluate(step, [_eval_batch(rows, [3, 4, 0, 9], [True, True, False, False])], 1, answers=answers)
    assert np.argwhere(answers.confusion(10)).tolist() == [[3, 3], [4, 0]]  # the most likely class of each valid image
    assert [one["index"] for one in answers.worst(9)] == [1]
    assert (padded.top1, padded.top5, padded.images) == (50.0, 100.0, 2)


def test_evaluation_scores_by_class() -> None:
    """The classes 3, 4 and 5 have 2, 1 and 1 images; 3 is predicted 3 times, 5 once, and 7 for an image that does not count."""
    rows = np.zeros((5, 10), np.uint8)
    rows[range(5), [3, 3, 3, 5, 7]] = 9
    result = evaluate(EvalStep(composed(*TINY), _Logits()), [_eval_batch(rows, [3, 3, 4, 5, 0], [True] * 4 + [False])], 1)
    assert result.top1 == 75.0
    assert result.balanced_accuracy == pytest.approx(100 * 2 / 3)
    assert result.macro_f1 == pytest.approx(100 * (4 / 5 + 0 + 1) / 3)
    assert {"val/macro_f1", "val/top5"} <= result.metrics("val", 6).keys()
    assert "val/top5" not in result.metrics("val", 5)


def test_nan_logits_are_never_correct() -> None:
    class Broken(nn.Cell):
        def construct(self, images: Tensor) -> Tensor:
            return images[:, 0, 0, :10] * float("nan")

    result = evaluate(EvalStep(composed(*TINY), Broken()), [_eval_batch(np.zeros((2, 10)), [0, 1], [True, True])], 1)
    assert (result.top1, result.top5, result.balanced_accuracy, result.macro_f1) == (0.0, 0.0, 0.0, 0.0)


def test_loss_of_evaluation_is_cross_entropy() -> None:
    trainer = trainer_of("ema.decay=0.9")
    images, labels = batch(5)
    rows = EvalBatch(images, labels, np.ones(8, bool), np.arange(8))
    before = evaluate(EvalStep(trainer.config, trainer.state.network), [rows], 1)
    assert before.loss == pytest.approx(trainer.step(images, labels)[0], rel=1e-6)  # no smoothing, no mixing
