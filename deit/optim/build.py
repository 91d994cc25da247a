"""Builds the optimizer of a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mindspore import Parameter

from deit.config.schema import AdamWOptim, LambOptim, OptimConfig, SgdOptim
from deit.optim.adamw import AdamW
from deit.optim.lamb import LAMB
from deit.optim.parameter_groups import decayed, lr_scales
from deit.optim.sgd import SGD


class Rule(NamedTuple):
    """What the optimizer does with a parameter: whether weight decay applies to it, and the factor of its learning rate."""

    decayed: bool
    lr_scale: float


def rules_of(optim: OptimConfig, shapes: Mapping[str, tuple[int, ...]]) -> list[Rule]:
    """The rule of each parameter, in the order of ``shapes``; ``deit.optim.parameter_groups`` chooses."""
    scales = lr_scales(shapes, optim.layer_decay)
    return [Rule(yes, scales[name]) for name, yes in decayed(shapes, optim.decay_dist_token).items()]


def needs_its_norm(optim: OptimConfig, rule: Rule) -> bool:
    """Whether the update of a parameter depends on its own norm, so that it cannot be updated as part of a longer vector."""
    return isinstance(optim, LambOptim) and rule.decayed and optim.weight_decay > 0


def build_optimizer(
    optim: OptimConfig, parameters: Sequence[Parameter], rules: Sequence[Rule] | None = None
) -> AdamW | LAMB | SGD:
    """The optimizer of ``optim``, with the ``rules`` of the parameters; by default those for their names and shapes."""
    rules = rules_of(optim, {p.name: p.shape for p in parameters}) if rules is None else rules
    chosen = [rule.decayed for rule in rules]
    scales = [rule.lr_scale for rule in rules] if optim.layer_decay < 1 else None
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
