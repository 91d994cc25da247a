"""SGD with momentum as torch.optim.SGD computes it: weight decay is added to the gradient, no dampening.

Written in elementary operators because the fused ApplyMomentum ignores ``use_nesterov`` on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from deit.optim.rates import Rates

_update = ops.MultitypeFuncGraph("sgd_update")


@_update.register("Bool", "Tensor", "Tensor", "Tensor", "Bool", "Tensor", "Tensor", "Tensor")
def _update_one(
    nesterov: bool,
    momentum: Tensor,
    decay: Tensor,
    lr: Tensor,
    decayed: bool,
    parameter: Parameter,
    buffer: Parameter,
    grad: Tensor,
) -> bool:
    if decayed:
        grad = grad + decay * parameter
    velocity = momentum * buffer + grad
    ops.assign(buffer, velocity)
    ops.assign_sub(parameter, lr * (grad + momentum * velocity if nesterov else velocity))
    return True


class SGD(nn.Cell):
    """Update ``parameters`` in place; ``decayed`` says for each whether ``weight_decay`` applies to it, ``lr_scales`` are
    factors of their learning rates.

    ``state`` maps ``momentum_buffer.<parameter>`` to the parameters of a checkpoint. The buffers start at zero, which gives
    torch's first step, where the buffer becomes the gradient.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        decayed: Sequence[bool],
        *,
        weight_decay: float,
        momentum: float,
        nesterov: bool,
        lr_scales: Sequence[float] | None = None,
    ) -> None:
        super().__init__(auto_prefix=False)  # the parameters belong to the network and keep their names
        self.parameters = ParameterTuple(parameters)
        self.decayed = tuple(decayed)
        self.nesterov = nesterov
        self.weight_decay = Tensor(weight_decay, ms.float32)
        self.momentum = Tensor(momentum, ms.float32)
        self.zero, self.one = Tensor(0.0, ms.float32), Tensor(1.0, ms.float32)
        self.momentum_buffer = self.parameters.clone("momentum_buffer", init="zeros")
        for buffer in self.momentum_buffer:
            buffer.requires_grad = False
        self.state = {p.name: p for p in self.momentum_buffer}
        self.map = ops.HyperMap()
        self.rates = Rates(lr_scales, len(parameters))

    def construct(self, grads: tuple[Tensor, ...], lr: Tensor, finite: Tensor | None = None) -> bool:
        """One update. ``grads``: float32, in the order of the parameters. ``lr``: float32 scalar.

        If ``finite`` (bool) is false, nothing changes, without a branch in the graph; ``grads`` must then be 0.
        """
        momentum, decay = self.momentum, self.weight_decay
        if finite is not None:
            lr, decay = ops.select(finite, lr, self.zero), ops.select(finite, decay, self.zero)
            momentum = ops.select(finite, momentum, self.one)
        update = ops.partial(_update, self.nesterov, momentum, decay)
        self.map(update, self.rates(lr), self.decayed, self.parameters, self.momentum_buffer, grads)
        return True
