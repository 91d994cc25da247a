"""The two moments of Adam, which AdamW and LAMB keep, and their bias corrections."""

from __future__ import annotations

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from deit.optim.rates import Rates


class Moments(nn.Cell):
    """The state of an optimizer with Adam's moments; its classes update ``parameters`` in place.

    ``decayed`` says for each parameter whether weight decay applies to it. ``state`` maps names to the parameters of a
    checkpoint: ``step``, the number of updates done, and ``exp_avg.<parameter>``, ``exp_avg_sq.<parameter>``, the two moments.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        decayed: Sequence[bool],
        betas: tuple[float, float],
        lr_scales: Sequence[float] | None,
    ) -> None:
        super().__init__(auto_prefix=False)  # the parameters belong to the network and keep their names
        self.parameters = ParameterTuple(parameters)
        self.decayed = tuple(decayed)
        self.log_beta1, self.log_beta2 = (_log(beta) for beta in betas)
        self.exp_avg = self.parameters.clone("exp_avg", init="zeros")
        self.exp_avg_sq = self.parameters.clone("exp_avg_sq", init="zeros")
        self.step = Parameter(Tensor(0, ms.int32), name="step", requires_grad=False)
        for moment in (*self.exp_avg, *self.exp_avg_sq):
            moment.requires_grad = False
        self.state = {p.name: p for p in (self.step, *self.exp_avg, *self.exp_avg_sq)}
        self.map = ops.HyperMap()
        self.rates = Rates(lr_scales, len(parameters))

    def count_update(self, finite: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Count an update, the t-th; returns 1 - beta1^t and sqrt(1 - beta2^t), float32 scalars.

        With a false ``finite`` (bool) it does not count.
        """
        if finite is None:
            step = ops.assign_add(self.step, 1).astype(ms.float32)
        else:
            # At least 1, so that the corrections of an update that does not count are not 0.
            step = ops.maximum(ops.assign_add(self.step, finite.astype(ms.int32)), 1).astype(ms.float32)
        return one_minus_exp(step * self.log_beta1), ops.sqrt(one_minus_exp(step * self.log_beta2))


def _log(beta: float) -> float:
    # beta = 0 is allowed: the smallest float32 gives the same correction, 1.
    return math.log(max(beta, float(np.finfo(np.float32).tiny)))


def one_minus_exp(x: Tensor) -> Tensor:
    """1 - exp(x), accurate in float32 also near 0, where ops.expm1 on the CPU has errors of 1e-5."""
    half = ops.tanh(0.5 * x)
    return -2.0 * half / (1.0 - half)
