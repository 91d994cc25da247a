"""Calibration and test-time augmentation: the numbers of their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from composition import composed
from mindspore import Tensor, nn

from deit.data.loader import EvalBatch
from deit.engine.evaluation import Answers, AugmentedStep, EvalStep, evaluate
from deit.engine.reliability import BINS, Reliability
from deit.errors import UserError
from deit.exports.temperature import LARGEST, calibrate, with_temperature

pytestmark = pytest.mark.usefixtures("graph_mode")
TINY = ("experiment=quickstart", "data.mean=[0,0,0]", "data.std=[1,1,1]")


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_calibration_error_follows_its_definition() -> None:
    rng = np.random.default_rng(0)
    confidence, right = rng.uniform(0.1, 1, 500), rng.random(500) < 0.6
    confidence[:3] = 1.0, 1 / BINS, 5 / BINS  # a border belongs to the bin below it
    expected = 0.0
    for number in range(BINS):  # as the authors' code: low < confidence <= high
        inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        if inside.any():
            expected += 100 * inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    halves = [Reliability(), Reliability()]
    for half, rows in zip(halves, (slice(0, 100), slice(100, 500)), strict=True):
        half.add(confidence[rows], right[rows])
    assert Reliability(halves[0].sums + halves[1].sums).ece == pytest.approx(expected, rel=1e-12)
    assert math.isnan(Reliability().ece)
    halves[0].add(np.array([math.nan]), np.array([False]))
    assert math.isnan(halves[0].ece)


class _Pixels(nn.Cell):
    """Its logits are the first pixels of the first row."""

    def construct(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :4] * 20


def batch(images: np.ndarray, labels: list[int], valid: list[bool]) -> EvalBatch:
    return EvalBatch(images, np.array(labels, np.int32), np.array(valid), np.arange(len(labels)))


def test_evaluation_reports_the_calibration_of_valid_images() -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, 2, 4, 3)).astype(np.uint8)
    answers = Answers()
    labels, valid = [0, 1, 2, 3, 0, 1], [True] * 5 + [False]
    found = evaluate(EvalStep(composed(*TINY), _Pixels()), [batch(images, labels, valid)], 1, answers=answers)
    shares = softmax(images[:5, 0, :4, 0] / 255.0 * 20)
    by_hand = Reliability()
    by_hand.add(shares.max(1), shares.argmax(1) == labels[:5])
    assert found.ece == pytest.approx(by_hand.ece, rel=1e-5) and found.metrics("val", 4)["val/ece"] == found.ece
    assert answers.reliability.sums[0].sum() == 5


@pytest.mark.parametrize("views", ["flip", "five_crop"])
def test_augmented_probabilities_are_the_mean_over_the_views(views: str) -> None:
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (6, 5, 2, 4, 3) if views == "five_crop" else (6, 2, 4, 3)).astype(np.uint8)
    labels, valid = [0, 1, 2, 3, 0, 1], [True] * 5 + [False]
    found = evaluate(AugmentedStep(composed(*TINY), _Pixels()), [batch(images, labels, valid)], 1)
    seen = images[:, :, 0, :4, 0] if views == "five_crop" else np.stack([images[:, 0, :4, 0], images[:, 0, ::-1, 0][:, :4]], 1)
    shares = softmax(seen / 255.0 * 20).mean(1)[:5]
    assert (found.top1, found.images) == (100 * np.mean(shares.argmax(1) == labels[:5]), 5)
    assert found.loss == pytest.approx(-np.log(shares[np.arange(5), labels[:5]]).mean(), rel=1e-5)


def test_an_impossible_class_in_every_view_has_a_finite_loss() -> None:
    """A probability of exp(-100) is 0 in float32; its logarithm is not."""
    images = np.zeros((1, 2, 4, 3), np.uint8)
    images[0, 0, :, 0] = 255, 0, 0, 255

    class Steep(nn.Cell):
        def construct(self, images: Tensor) -> Tensor:
            return images[:, 0, 0, :4] * 200

    found = evaluate(AugmentedStep(composed(*TINY), Steep()), [batch(images, [1], [True])], 1)
    assert found.loss == pytest.approx(200 + math.log(2), rel=1e-5) and found.top5 == 100


def test_temperature_minimises_the_loss_reproducibly() -> None:
    rng = np.random.default_rng(3)
    honest = rng.normal(0, 2, (4000, 7))
    labels = np.array([rng.choice(7, p=row) for row in softmax(honest)])
    found = calibrate((3 * honest).astype(np.float32), labels)
    assert found.temperature == pytest.approx(3, rel=0.05) and found.images == 4000

    def loss(temperature: float) -> float:
        return float(-np.log(softmax(3 * honest.astype(np.float64) / temperature)[np.arange(4000), labels]).mean())

    assert found.nll_before == pytest.approx(loss(1), rel=1e-6) and found.nll_after == pytest.approx(loss(found.temperature))
    assert found.nll_after < min(loss(0.999 * found.temperature), loss(1.001 * found.temperature))
    assert found.ece_before > 20 and found.ece_after < 4
    assert calibrate((3 * honest).astype(np.float32), labels) == found


@pytest.mark.parametrize("kind", ["all right", "all wrong", "not finite"])
def test_calibration_without_a_minimum_is_rejected(kind: str) -> None:
    labels = np.arange(20) % 4
    logits = np.eye(4)[labels if kind == "all right" else (labels + 1) % 4].astype(np.float32)
    if kind == "not finite":
        logits[3, 2] = np.nan
    with pytest.raises(UserError, match=r"task\.calibrate=true") as raised:
        calibrate(logits, labels)
    assert raised.value.exit_code == 1
    assert kind == "not finite" or f"to {LARGEST:g}" in str(raised.value)


def test_only_the_heads_are_divided_by_the_temperature() -> None:
    names = ("head.weight", "head.bias", "head_dist.weight", "norm.gamma", "blocks.0.attn.qkv.weight")
    weights = {name: np.full(3, 6, np.float32) for name in names}
    scaled = with_temperature(weights, 3.0)
    assert [float(scaled[name][0]) for name in names] == [2, 2, 2, 6, 6] and scaled["head.bias"].dtype == np.float32
