"""LAMB as timm computes it (timm.optim.Lamb, after apex's FusedLAMB and arXiv 1904.00962): Adam with a rate for each parameter.

Adam's update, with the decay added to it, is scaled by the norm of the parameter over the norm of the update. Parameters
without decay are not scaled (timm: always_adapt false). The clip of the global norm that timm's optimizer contains is
``optim.clip_grad``, as for every optimizer here.
"""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import Parameter, Tensor, ops

from deit.optim.moments import Moments

_update = ops.MultitypeFuncGraph("lamb_update")


@_update.register(*["Tensor"] * 7, "Bool", *["Tensor"] * 4)
def _update_one(  # noqa: PLR0913, PLR0917  # scalars, then what belongs to one parameter
    share1: Tensor,
    share2: Tensor,
    correction1: Tensor,
    correction2_root: Tensor,
    eps: Tensor,
    decay: Tensor,
    lr: Tensor,
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


class LAMB(Moments):
    """``weight_decay``, and with it the scaling, applies to the parameters that are ``decayed``.

    ``lr_scales`` are factors of their learning rates.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        decayed: Sequence[bool],
        *,
        weight_decay: float,
        betas: tuple[float, float],
        eps: float,
        lr_scales: Sequence[float] | None = None,
    ) -> None:
        # Without weight decay timm scales nothing.
        super().__init__(parameters, [weight_decay > 0 and one for one in decayed], betas, lr_scales)
        self.share1, self.share2 = (Tensor(1 - beta, ms.float32) for beta in betas)
        self.eps, self.weight_decay = Tensor(eps, ms.float32), Tensor(weight_decay, ms.float32)
        self.zero = Tensor(0.0, ms.float32)

    def construct(self, grads: tuple[Tensor, ...], lr: Tensor, finite: Tensor | None = None) -> bool:
        """One update. ``grads``: float32, in the order of the parameters. ``lr``: float32 scalar.

        If ``finite`` (bool) is false, nothing changes, without a branch in the graph; ``grads`` must then be 0.
        """
        correction1, correction2_root = self.count_update(finite)
        decay, share1, share2 = self.weight_decay, self.share1, self.share2
        if finite is not None:
            lr = ops.select(finite, lr, self.zero)
            share1, share2 = ops.select(finite, share1, self.zero), ops.select(finite, share2, self.zero)
        update = ops.partial(_update, share1, share2, correction1, correction2_root, self.eps, decay)
        self.map(update, self.rates(lr), self.decayed, self.parameters, self.exp_avg, self.exp_avg_sq, grads)
        return True
