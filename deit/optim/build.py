"""Builds the optimizer of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mindspore import Parameter

from deit.config.schema import AdamWOptim, LambOptim, OptimConfig, SgdOptim
from deit.optim.adamw import AdamW
from deit.optim.lamb import LAMB
from deit.optim.parameter_groups import decayed, lr_scales
from deit.optim.sgd import SGD


def build_optimizer(optim: OptimConfig, parameters: Sequence[Parameter]) -> AdamW | LAMB | SGD:
    """The optimizer of ``optim``; ``deit.optim.parameter_groups`` chooses decay and learning rate of each parameter."""
    by_name = decayed({p.name: p.shape for p in parameters}, optim.decay_dist_token)
    chosen = [by_name[p.name] for p in parameters]
    scales = list(lr_scales((p.name for p in parameters), optim.layer_decay).values()) if optim.layer_decay < 1 else None
    common: dict[str, Any] = {"weight_decay": optim.weight_decay, "lr_scales": scales}
    if isinstance(optim, AdamWOptim):
        beta1, beta2 = optim.betas
        return AdamW(parameters, chosen, betas=(beta1, beta2), eps=optim.eps, **common)
    if isinstance(optim, LambOptim):
        beta1, beta2 = optim.betas
        return LAMB(parameters, chosen, betas=(beta1, beta2), eps=optim.eps, **common)
    if isinstance(optim, SgdOptim):
        return SGD(parameters, chosen, momentum=optim.momentum, nesterov=optim.nesterov, **common)
    raise TypeError(f"no optimizer for {type(optim).__name__}")
