"""AdamW as torch.optim.AdamW computes it, on MindSpore's fused operator.

MindSpore's nn.AdamWeightDecay omits the bias correction, and its experimental AdamW takes many small operators per parameter.
The fused operator computes ``p -= lr * (m / (sqrt(v) + eps) + decay * p)``; with

    k = sqrt(1 - beta2^t) / (1 - beta1^t)

the inputs ``lr * k``, ``eps * sqrt(1 - beta2^t)`` and ``decay / k`` turn that into torch's update exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

_update = ops.MultitypeFuncGraph("adamw_update")


@_update.register("Function", *["Tensor"] * 6, "Bool", *["Tensor"] * 4)
def _update_one(  # noqa: PLR0913, PLR0917  # the inputs of the fused operator
    fused: ops.Primitive,
    lr: Tensor,
    beta1: Tensor,
    beta2: Tensor,
    eps: Tensor,
    decay: Tensor,
    zero: Tensor,
    decayed: bool,
    parameter: Parameter,
    exp_avg: Parameter,
    exp_avg_sq: Parameter,
    grad: Tensor,
) -> bool:
    fused(parameter, exp_avg, exp_avg_sq, lr, beta1, beta2, eps, decay if decayed else zero, grad)
    return True


class AdamW(nn.Cell):
    """Update ``parameters`` in place; ``decayed`` says for each whether ``weight_decay`` applies to it.

    ``state`` maps names to the parameters of a checkpoint: ``step``, the number of updates done, and
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
        self.decayed = tuple(decayed)
        self.weight_decay, self.eps = weight_decay, eps
        # The operator computes 1 - beta from float32 betas. The rounding of .999 makes that wrong by 1e-5, which cancels if
        # the bias correction uses the same rounded beta.
        beta1, beta2 = (float(np.float32(beta)) for beta in betas)
        self.beta1, self.beta2 = Tensor(beta1, ms.float32), Tensor(beta2, ms.float32)
        self.log_beta1, self.log_beta2 = _log(beta1), _log(beta2)
        self.zero = Tensor(0.0, ms.float32)
        self.exp_avg = self.parameters.clone("exp_avg", init="zeros")
        self.exp_avg_sq = self.parameters.clone("exp_avg_sq", init="zeros")
        self.step = Parameter(Tensor(0, ms.int32), name="step", requires_grad=False)
        for moment in (*self.exp_avg, *self.exp_avg_sq):
            moment.requires_grad = False
        self.state = {p.name: p for p in (self.step, *self.exp_avg, *self.exp_avg_sq)}
        self.map = ops.HyperMap()
        self.fused = ops.operations.AdamWeightDecay()

    def construct(self, grads: tuple[Tensor, ...], lr: Tensor) -> bool:
        """One update. ``grads``: float32, in the order of the parameters. ``lr``: float32 scalar."""
        step = ops.assign_add(self.step, 1).astype(ms.float32)
        correction1 = one_minus_exp(step * self.log_beta1)
        correction2_root = ops.sqrt(one_minus_exp(step * self.log_beta2))
        k = correction2_root / correction1
        update = ops.partial(
            _update, self.fused, lr * k, self.beta1, self.beta2, self.eps * correction2_root, self.weight_decay / k, self.zero
        )
        self.map(update, self.decayed, self.parameters, self.exp_avg, self.exp_avg_sq, grads)
        return True


def _log(beta: float) -> float:
    # beta = 0 is allowed: the smallest float32 gives the same correction, 1.
    return math.log(max(beta, float(np.finfo(np.float32).tiny)))


def one_minus_exp(x: Tensor) -> Tensor:
    """1 - exp(x), accurate in float32 also near 0, where ops.expm1 on the CPU has errors of 1e-5."""
    half = ops.tanh(0.5 * x)
    return -2.0 * half / (1.0 - half)
