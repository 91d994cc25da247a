"""The learning rate of each parameter, which layer decay makes differ."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from deit.optim.entries import entries


class Rates(nn.Cell):
    """The learning rates of ``count`` parameters from that of the schedule; ``scales`` has the factor of each, None: all 1."""

    def __init__(self, scales: Sequence[float] | None, count: int) -> None:
        super().__init__(auto_prefix=False)
        # One per layer: a product for each parameter would be a kernel for each.
        distinct = [1.0] if scales is None else sorted(set(scales))
        self.scales = None if scales is None else Tensor(np.array(distinct), ms.float32)
        self.chosen = tuple(distinct.index(scale) for scale in scales or [1.0] * count)

    def construct(self, lr: Tensor) -> tuple[Tensor, ...]:
        """``lr``: float32 scalar; returns a float32 scalar for each parameter."""
        rates = (lr,) if self.scales is None else ops.unstack(lr * self.scales)
        return entries(rates, self.chosen)
