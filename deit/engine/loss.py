"""Losses: functions of the student's outputs, the teacher's logits, and the targets.

All have the same three arguments, so that the train step needs no branch for distillation.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from deit.config.schema import DistillConfig, LossConfig


def build_loss(
    loss: LossConfig, distill: DistillConfig, class_weights: np.ndarray | None = None, *, distilled: bool = False
) -> nn.Cell:
    """The training loss of a configuration; ``deit.engine.teacher`` builds the matching teacher.

    ``class_weights``: float32 [K], of ``deit.data.balance``, for cross entropy. ``distilled``: of a model with two heads, which
    both learn the labels without a teacher.
    """
    bce = loss.name == "bce"
    base: nn.Cell = BinaryCrossEntropy(loss.target_threshold) if bce else SoftTargetCrossEntropy(class_weights)
    if distill.type == "none":
        return BothHeads(base) if distilled else base
    return DistillationLoss(base, distill.type, distill.alpha, distill.tau)


class SoftTargetCrossEntropy(nn.Cell):
    """Cross entropy with soft targets (timm ``SoftTargetCrossEntropy``), mean over the batch.

    With ``weights``, one for each class, as torch's ``cross_entropy(outputs, targets, weight)`` for targets that are
    probabilities: the sum over the batch is divided by its images, not by their weights.
    """

    def __init__(self, weights: np.ndarray | None = None) -> None:
        super().__init__()
        self.weights = None if weights is None else Tensor(weights, ms.float32)

    def construct(self, outputs: Tensor, teacher_logits: Tensor | None, targets: Tensor) -> Tensor:
        """``outputs``: logits [B, K]; ``targets`` [B, K] that sum to 1. ``teacher_logits`` is unused."""
        return _cross_entropy(outputs, targets if self.weights is None else targets * self.weights)


class BinaryCrossEntropy(nn.Cell):
    """Binary cross entropy with logits of each class (timm ``BinaryCrossEntropy``), mean over the batch and the classes.

    With a ``target_threshold`` targets above it become 1 and others 0: at 0, as facebookresearch/deit trains DeiT III, both
    classes of a mixed image are entirely right.
    """

    def __init__(self, target_threshold: float | None) -> None:
        super().__init__()
        self.target_threshold = target_threshold

    def construct(self, outputs: Tensor, teacher_logits: Tensor | None, targets: Tensor) -> Tensor:
        """``outputs``: logits [B, K]; ``targets`` [B, K], each within 0 and 1. There is no teacher to use."""
        if self.target_threshold is not None:
            targets = (targets > self.target_threshold).astype(ms.float32)
        # log(1 + exp(x)) - target * x, written so that no exponential overflows.
        softplus = ops.relu(outputs) + ops.log1p(ops.exp(-ops.abs(outputs)))
        return (softplus - targets * outputs).mean()


class BothHeads(nn.Cell):
    """The mean of the losses of both heads of a distilled model, each on the labels: fine-tuning without a teacher."""

    def __init__(self, base: nn.Cell) -> None:
        super().__init__()
        self.base = base

    def construct(self, outputs: tuple[Tensor, Tensor], teacher_logits: Tensor | None, targets: Tensor) -> Tensor:
        """``outputs``: logits of the class head and of the distillation head, each [B, K]. ``teacher_logits`` is unused."""
        return (self.base(outputs[0], None, targets) + self.base(outputs[1], None, targets)) / 2


class DistillationLoss(nn.Cell):
    """facebookresearch/deit ``DistillationLoss``: (1 - alpha) * base + alpha * distillation.

    ``soft``: KL divergence at temperature tau, times tau^2, over the number of logits; ``hard``: cross entropy with the
    teacher's decision.
    """

    def __init__(self, base: nn.Cell, kind: str, alpha: float, tau: float) -> None:
        super().__init__()
        self.base = base
        self.kind, self.alpha, self.tau = kind, alpha, tau

    def construct(self, outputs: tuple[Tensor, Tensor], teacher_logits: Tensor, targets: Tensor) -> Tensor:
        """``outputs``: logits of the class head and of the distillation head, each [B, K]; ``teacher_logits`` [B, K]."""
        student = outputs[1]
        if self.kind == "soft":
            log_student = ops.log_softmax(student / self.tau, -1)
            log_teacher = ops.log_softmax(teacher_logits / self.tau, -1)
            divergence = (ops.exp(log_teacher) * (log_teacher - log_student)).sum()
            distillation = divergence * (self.tau * self.tau) / (student.shape[0] * student.shape[1])
        else:
            decision = ops.one_hot(
                ops.argmax(teacher_logits, -1), student.shape[1], ops.ones((), student.dtype), ops.zeros((), student.dtype)
            )
            distillation = _cross_entropy(student, decision)
        return (1 - self.alpha) * self.base(outputs[0], None, targets) + self.alpha * distillation


def mean_of_heads(outputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """The logits for evaluation: those of the model, or the mean of both heads of a distilled one."""
    if isinstance(outputs, tuple):
        return (outputs[0] + outputs[1]) / 2
    return outputs


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return -(targets * ops.log_softmax(logits, -1)).sum(-1).mean()
