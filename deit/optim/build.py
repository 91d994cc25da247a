"""Builds the optimizer of a configuration."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Parameter

from deit.config.schema import AdamWOptim, LambOptim, OptimConfig, SgdOptim
from deit.optim.adamw import AdamW
from deit.optim.lamb import LAMB
from deit.optim.parameter_groups import decayed
from deit.optim.sgd import SGD


def build_optimizer(optim: OptimConfig, parameters: Sequence[Parameter]) -> AdamW | LAMB | SGD:
    """The optimizer of ``optim``; ``deit.optim.parameter_groups`` chooses the decayed parameters."""
    by_name = decayed({p.name: p.shape for p in parameters}, optim.decay_dist_token)
    chosen = [by_name[p.name] for p in parameters]
    if isinstance(optim, AdamWOptim):
        beta1, beta2 = optim.betas
        return AdamW(parameters, chosen, weight_decay=optim.weight_decay, betas=(beta1, beta2), eps=optim.eps)
    if isinstance(optim, LambOptim):
        beta1, beta2 = optim.betas
        return LAMB(parameters, chosen, weight_decay=optim.weight_decay, betas=(beta1, beta2), eps=optim.eps)
    if isinstance(optim, SgdOptim):
        return SGD(parameters, chosen, weight_decay=optim.weight_decay, momentum=optim.momentum, nesterov=optim.nesterov)
    raise TypeError(f"no optimizer for {type(optim).__name__}")
