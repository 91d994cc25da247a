"""AdamW as torch.optim.AdamW computes it, on MindSpore's fused operator.

MindSpore's nn.AdamWeightDecay omits the bias correction, and its experimental AdamW takes many small operators per parameter.
The fused operator computes ``p -= lr * (m / (sqrt(v) + eps) + decay * p)``; with

    k = sqrt(1 - beta2^t) / (1 - beta1^t)

the inputs ``lr * k``, ``eps * sqrt(1 - beta2^t)`` and ``decay / k`` turn that into torch's update exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, ops

from deit.optim.moments import Moments

_update = ops.MultitypeFuncGraph("adamw_update")


@_update.register("Function", *["Tensor"] * 6, "Bool", *["Tensor"] * 4)
def _update_one(  # noqa: PLR0913, PLR0917  # the inputs of the fused operator
    fused: ops.Primitive,
    beta1: Tensor,
    beta2: Tensor,
    eps: Tensor,
    decay: Tensor,
    zero: Tensor,
    lr: Tensor,
    decayed: bool,
    parameter: Parameter,
    exp_avg: Parameter,
    exp_avg_sq: Parameter,
    grad: Tensor,
) -> bool:
    fused(parameter, exp_avg, exp_avg_sq, lr, beta1, beta2, eps, decay if decayed else zero, grad)
    return True


class AdamW(Moments):
    """``weight_decay`` applies to the parameters that are ``decayed``; ``lr_scales`` are factors of their learning rates."""

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
        # The operator computes 1 - beta from float32 betas. The rounding of .999 makes that wrong by 1e-5, which cancels if
        # the bias correction uses the same rounded beta.
        beta1, beta2 = (float(np.float32(beta)) for beta in betas)
        super().__init__(parameters, decayed, (beta1, beta2), lr_scales)
        self.weight_decay, self.eps = weight_decay, eps
        self.beta1, self.beta2 = Tensor(beta1, ms.float32), Tensor(beta2, ms.float32)
        self.zero, self.one = Tensor(0.0, ms.float32), Tensor(1.0, ms.float32)
        self.fused = ops.operations.AdamWeightDecay()

    def construct(self, grads: tuple[Tensor, ...], lr: Tensor, finite: Tensor | None = None) -> bool:
        """One update. ``grads``: float32, in the order of the parameters. ``lr``: float32 scalar.

        If ``finite`` (bool) is false, nothing changes, without a branch in the graph; ``grads`` must then be 0.
        """
        correction1, correction2_root = self.count_update(finite)
        k = correction2_root / correction1
        rate, eps, decay = lr * k, self.eps * correction2_root, self.weight_decay / k
        beta1, beta2 = self.beta1, self.beta2
        if finite is not None:
            rate = ops.select(finite, rate, self.zero)
            beta1, beta2 = ops.select(finite, beta1, self.one), ops.select(finite, beta2, self.one)
        update = ops.partial(_update, self.fused, beta1, beta2, eps, decay, self.zero)
        self.map(update, self.rates(rate), self.decayed, self.parameters, self.exp_avg, self.exp_avg_sq, grads)
        return True
