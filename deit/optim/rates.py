"""The learning rate of each parameter, where layer decay makes them differ."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops


class Rates(nn.Cell):
    """The learning rates of all parameters from that of the schedule; ``scales`` has the factor of each parameter."""

    def __init__(self, scales: Sequence[float]) -> None:
        super().__init__(auto_prefix=False)
        distinct = sorted(set(scales))  # one per layer: a product for each parameter would be a kernel for each
        self.scales = Tensor(np.array(distinct), ms.float32)
        self.chosen = tuple(distinct.index(scale) for scale in scales)

    def construct(self, lr: Tensor) -> tuple[Tensor, ...]:
        """``lr``: float32 scalar; returns a float32 scalar for each parameter."""
        rates = ops.unstack(lr * self.scales)
        return tuple([rates[layer] for layer in self.chosen])


def build_rates(scales: Sequence[float] | None) -> Rates | None:
    """None without ``scales``: all parameters have the rate of the schedule."""
    return None if scales is None else Rates(scales)
