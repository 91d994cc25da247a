"""LAMB as timm computes it (timm.optim.Lamb, after apex's FusedLAMB and arXiv 1904.00962): Adam with a rate for each parameter.

Adam's update, with the decay added to it, is scaled by the norm of the parameter over the norm of the update. Parameters
without decay are not scaled (timm: always_adapt false). The clip of the global norm that timm's optimizer contains is
``optim.clip_grad``, as for every optimizer here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from deit.optim.adamw import one_minus_exp

_update = ops.MultitypeFuncGraph("lamb_update")


@_update.register(*["Tensor"] * 7, "Bool", *["Tensor"] * 4)
def _update_one(  # noqa: PLR0913, PLR0917  # scalars, then what belongs to one parameter
    lr: Tensor,
    share1: Tensor,
    share2: Tensor,
    correction1: Tensor,
    correction2_root: Tensor,
    eps: Tensor,
    decay: Tensor,
    decayed: bool,
    parameter: Parameter,
    exp_avg: Parameter,
    exp_avg_sq: Parameter,
    grad: Tensor,
) -> bool:
    first = exp_avg + share1 * (grad - exp_avg)
    second = exp_avg_sq + share2 * (grad * grad - exp_avg_sq)
    ops.assign(exp_avg, first)
    ops.assign(exp_avg_sq, second)
    update = (first / correction1) / (ops.sqrt(second) / correction2_root + eps)
    if decayed:
        update = update + decay * parameter
        update = update * _trust_ratio(_norm(parameter), _norm(update))
    ops.assign_sub(parameter, lr * update)
    return True


def _norm(x: Tensor) -> Tensor:
    return ops.sqrt(2 * ops.L2Loss()(x))


def _trust_ratio(weight: Tensor, update: Tensor) -> Tensor:
    """The ratio of the two norms; 1 where one of them is 0."""
    one = ops.ones_like(weight)
    known = ops.logical_and(weight > 0, update > 0)
    return ops.select(known, weight / ops.select(known, update, one), one)


class LAMB(nn.Cell):
    """Update ``parameters`` in place; ``decayed`` says of each whether ``weight_decay``, and with it the scaling, applies.

    ``state`` maps names to what a checkpoint must hold: ``step``, the number of updates done, and
    ``exp_avg.<parameter>``, ``exp_avg_sq.<parameter>``, the two moments.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        decayed: Sequence[bool],
        *,
        weight_decay: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        super().__init__(auto_prefix=False)  # the parameters belong to the network and keep their names
        self.parameters = ParameterTuple(parameters)
        # Without weight decay timm scales nothing.
        self.decayed = tuple(weight_decay > 0 and one for one in decayed)
        self.share1, self.share2 = (Tensor(1 - beta, ms.float32) for beta in betas)
        self.log_beta1, self.log_beta2 = (math.log(max(beta, float(np.finfo(np.float32).tiny))) for beta in betas)
        self.eps, self.weight_decay = Tensor(eps, ms.float32), Tensor(weight_decay, ms.float32)
        self.exp_avg = self.parameters.clone("exp_avg", init="zeros")
        self.exp_avg_sq = self.parameters.clone("exp_avg_sq", init="zeros")
        self.step = Parameter(Tensor(0, ms.int32), name="step", requires_grad=False)
        for moment in (*self.exp_avg, *self.exp_avg_sq):
            moment.requires_grad = False
        self.state = {p.name: p for p in (self.step, *self.exp_avg, *self.exp_avg_sq)}
        self.map = ops.HyperMap()

    def construct(self, grads: tuple[Tensor, ...], lr: Tensor) -> bool:
        """One update. ``grads``: float32, in the order of the parameters. ``lr``: float32 scalar."""
        step = ops.assign_add(self.step, 1).astype(ms.float32)
        correction1 = one_minus_exp(step * self.log_beta1)
        correction2_root = ops.sqrt(one_minus_exp(step * self.log_beta2))
        update = ops.partial(_update, lr, self.share1, self.share2, correction1, correction2_root, self.eps, self.weight_decay)
        self.map(update, self.decayed, self.parameters, self.exp_avg, self.exp_avg_sq, grads)
        return True
