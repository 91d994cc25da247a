"""The losses and their gradients against timm and facebookresearch/deit."""

from __future__ import annotations

from collections.abc import Callable

import mindspore as ms
import numpy as np
import pytest
from fidelity import load, worst
from mindspore import Tensor, nn
from reference import inputs_losses as inputs
from reference.packing import checksum

from deit.config.schema import DistillConfig, LossConfig
from deit.engine import mixing
from deit.engine.loss import build_loss

pytestmark = pytest.mark.usefixtures("graph_mode")


class Asked(nn.Cell):
    """A loss and its gradient to the logits of one head or two, with mixed and smoothed targets."""

    def __init__(self, distill: DistillConfig, heads: int) -> None:
        super().__init__()
        self.loss, self.heads = build_loss(LossConfig(), distill), heads
        self.gradient = ms.value_and_grad(self.value, (0, 1) if heads == 2 else 0)

    def value(self, cls: Tensor, dist: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
        return self.loss((cls, dist) if self.heads == 2 else cls, teacher, targets)

    def construct(self, cls: Tensor, dist: Tensor, teacher: Tensor, labels: Tensor, lam: Tensor) -> tuple[Tensor, object]:
        targets = mixing.soft_targets(labels, lam, inputs.CLASSES, inputs.SMOOTHING)
        return self.gradient(cls, dist, teacher, targets)


def compare(
    fidelity: Callable[..., None], name: str, what: str, reference: str, distill: DistillConfig, lam: np.ndarray | None = None
) -> None:
    stored, heads = load("losses"), 1 if distill.type == "none" else 2
    logits = [inputs.logits(whose) for whose in ("class", "distillation", "teacher")]
    assert checksum([*logits, inputs.labels(), inputs.lam()]) == stored["inputs"]
    lam = inputs.lam() if lam is None else lam
    value, gradient = Asked(distill, heads)(*map(Tensor, logits), Tensor(inputs.labels(), ms.int32), Tensor(lam))
    gradients = np.stack([g.asnumpy() for g in (gradient if heads == 2 else (gradient,))])
    claim = dict(section="Losses", reference=reference, tolerance=1e-5)
    fidelity(what, measured=worst(value.asnumpy()[None], stored[f"{name}.value"]), **claim)
    for head, ours, theirs in zip(("class head", "distillation head"), gradients, stored[f"{name}.gradient"], strict=False):
        # A gradient's elements are small: compared with the largest; alpha 1 leaves the class head without any.
        scale = np.abs(theirs).max() or 1.0
        measured = worst(ours, theirs, scale=scale)
        fidelity(f"{what}: gradient to the {head}", measured=measured, unit="of the largest", **claim)


def test_soft_targets(fidelity: Callable[..., None]) -> None:
    reference, distill = "timm 0.3.2, SoftTargetCrossEntropy", DistillConfig("none", None, 0.5, 1.0)
    compare(fidelity, "soft_target", "Cross entropy with mixed, smoothed targets", reference, distill)


def test_label_smoothing(fidelity: Callable[..., None]) -> None:
    reference, distill = "timm 0.3.2, LabelSmoothingCrossEntropy", DistillConfig("none", None, 0.5, 1.0)
    own = np.ones(inputs.BATCH, np.float32)
    compare(fidelity, "smoothing", "Cross entropy with label smoothing .1", reference, distill, lam=own)


@pytest.mark.parametrize(("kind", "alpha", "tau"), inputs.DISTILLATIONS)
def test_distillation(kind: str, alpha: float, tau: float, fidelity: Callable[..., None]) -> None:
    reference = "FB DistillationLoss, from its definition, in torch 2.13.0"
    cases = {"soft": "5 pairs of alpha and tau", "hard": "3 values of alpha"}[kind]
    name, what = f"{kind}.{alpha}.{tau}", f"{kind.capitalize()} distillation, {cases}"
    compare(fidelity, name, what, reference, DistillConfig(kind, "teacher", alpha, tau))
