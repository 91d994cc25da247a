"""Losses against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

from deit.config.schema import DistillConfig, LossConfig
from deit.engine.loss import DistillationLoss, SoftTargetCrossEntropy, build_loss

pytestmark = pytest.mark.usefixtures("graph_mode")


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_soft_target_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.standard_normal((4, 5)), softmax(rng.standard_normal((4, 5)))
    wanted = -(targets * np.log(softmax(logits))).sum(-1).mean()
    loss = SoftTargetCrossEntropy()
    as_tensor = lambda x: Tensor(x.astype(np.float32))  # noqa: E731
    assert float(loss(as_tensor(logits), None, as_tensor(targets)).asnumpy()) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_distillation_loss_equals_the_papers(kind: str) -> None:
    rng = np.random.default_rng(3)
    cls, dist, teacher = (rng.standard_normal((4, 5)) for _ in range(3))
    targets = softmax(rng.standard_normal((4, 5)))
    base = -(targets * np.log(softmax(cls))).sum(-1).mean()
    tau, alpha = 3.0, 0.3
    if kind == "soft":
        p, q = softmax(teacher / tau), softmax(dist / tau)
        distillation = (p * (np.log(p) - np.log(q))).sum() * tau**2 / dist.size
    else:
        distillation = -np.log(softmax(dist))[np.arange(4), teacher.argmax(-1)].mean()
    loss = DistillationLoss(SoftTargetCrossEntropy(), kind, alpha, tau)
    cls, dist, teacher, targets = (Tensor(array.astype(np.float32)) for array in (cls, dist, teacher, targets))
    got = float(loss((cls, dist), teacher, targets).asnumpy())
    assert got == pytest.approx((1 - alpha) * base + alpha * distillation, rel=1e-5)


def test_both_heads_of_a_distilled_model_learn_the_labels_without_a_teacher() -> None:
    random = np.random.default_rng(0)
    heads, targets = random.standard_normal((2, 4, 3)), np.eye(3)[[0, 1, 2, 0]]
    expected = -np.mean([np.log(softmax(logits))[targets == 1].mean() for logits in heads])
    loss = build_loss(LossConfig(), DistillConfig("none", None, 0.5, 1.0), distilled=True)
    cls, dist, labels = (Tensor(array.astype(np.float32)) for array in (*heads, targets))
    assert float(loss((cls, dist), None, labels).asnumpy()) == pytest.approx(expected, rel=1e-5)


def test_weighted_cross_entropy_equals_torch_for_probabilities() -> None:
    random = np.random.default_rng(0)
    logits, targets = random.standard_normal((4, 3)), softmax(random.standard_normal((4, 3)))
    weights = np.array([0.5, 1.0, 3.0], np.float32)
    expected = -(weights * targets * np.log(softmax(logits))).sum(-1).mean()
    loss = build_loss(LossConfig(), DistillConfig("none", None, 0.5, 1.0), weights)
    found = loss(Tensor(logits.astype(np.float32)), None, Tensor(targets.astype(np.float32)))
    assert float(found.asnumpy()) == pytest.approx(expected, rel=1e-5)
