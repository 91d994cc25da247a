"""Losses of timm and of facebookresearch/deit, with their gradients to the logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from reference import inputs_losses as inputs
from reference.packing import checksum
from timm.data.mixup import one_hot
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch.nn import functional as F

TIMM = "0.3.2"


def make() -> dict[str, np.ndarray]:
    """Of each loss its ``value`` [1] and its ``gradient`` [heads, B, K]."""
    labels = torch.from_numpy(inputs.labels())
    smoothed = LabelSmoothingCrossEntropy(inputs.SMOOTHING)
    arrays = asked("smoothing", lambda cls: smoothed(cls, labels), "class")
    arrays |= asked("soft_target", lambda cls: SoftTargetCrossEntropy()(cls, targets()), "class")
    for kind, alpha, tau in inputs.DISTILLATIONS:
        name = f"{kind}.{alpha}.{tau}"
        arrays |= asked(name, lambda cls, dist, how=(kind, alpha, tau): distillation(cls, dist, *how), "class", "distillation")
    given = [inputs.logits(whose) for whose in ("class", "distillation", "teacher")]
    return arrays | {"inputs": checksum([*given, inputs.labels(), inputs.lam()])}


def targets() -> torch.Tensor:
    """Smoothed labels mixed with those of the reversed batch, as timm's mixup_target does it with one lambda."""
    labels, lam = torch.from_numpy(inputs.labels()), torch.from_numpy(inputs.lam())[:, None]
    off = inputs.SMOOTHING / inputs.CLASSES
    own = one_hot(labels, inputs.CLASSES, on_value=1 - inputs.SMOOTHING + off, off_value=off, device="cpu")
    return own * lam + own.flip(0) * (1 - lam)


def distillation(cls: torch.Tensor, dist: torch.Tensor, kind: str, alpha: float, tau: float) -> torch.Tensor:
    """facebookresearch/deit's DistillationLoss, from its definition: DeiT paper, section 4, equations 2 and 3.

    That repository divides the divergence by the number of logits, not by the batch.
    """
    teacher = torch.from_numpy(inputs.logits("teacher"))
    if kind == "soft":
        student, teacher = (F.log_softmax(x / tau, dim=1) for x in (dist, teacher))
        taught = F.kl_div(student, teacher, reduction="sum", log_target=True) * tau**2 / dist.numel()
    else:
        taught = F.cross_entropy(dist, teacher.argmax(dim=1))
    return (1 - alpha) * SoftTargetCrossEntropy()(cls, targets()) + alpha * taught


def asked(name: str, loss: Callable[..., torch.Tensor], *heads: str) -> dict[str, np.ndarray]:
    logits = [torch.from_numpy(inputs.logits(head)).requires_grad_() for head in heads]
    value = loss(*logits)
    value.backward()
    return {f"{name}.value": value.detach()[None].numpy(), f"{name}.gradient": np.stack([x.grad.numpy() for x in logits])}
