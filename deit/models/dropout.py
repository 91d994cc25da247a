"""Dropout whose mask is a function of (key, layer, element), computed in the graph.

MindSpore's own generators can neither repeat nor resume, and a mask drawn on the host would be as large as the activations. So
each element hashes its position together with the key of the step, in int32 arithmetic that wraps around on every device.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

GOLDEN = -1640531527  # 2**32 / golden ratio as int32: spreads consecutive layer numbers over all bits


def mix(x: Tensor) -> Tensor:
    """Bijective scrambling of int32 (the ``lowbias32`` constants of Wellons' Hash Prospector).

    The shift of int32 copies the sign bit; the masks make it a shift of the unsigned number.
    """
    x = ops.bitwise_xor(x, ops.bitwise_and(ops.bitwise_right_shift(x, 16), 0x0000FFFF))
    x = x * 0x7FEB352D
    x = ops.bitwise_xor(x, ops.bitwise_and(ops.bitwise_right_shift(x, 15), 0x0001FFFF))
    x = x * -2073254261  # 0x846CA68B
    return ops.bitwise_xor(x, ops.bitwise_and(ops.bitwise_right_shift(x, 16), 0x0000FFFF))


class Dropout(nn.Cell):
    """Zero elements with probability ``rate`` and scale the others by 1 / (1 - rate).

    ``layer`` is the number of this dropout in the network: no two layers share a mask.
    """

    def __init__(self, rate: float, layer: int) -> None:
        super().__init__()
        self.rate = rate
        self.salt = (layer * GOLDEN + 2**31) % 2**32 - 2**31
        self.lowest_kept = round(rate * 2**32) - 2**31
        self.scale = 1 / (1 - rate)

    def construct(self, x: Tensor, key: Tensor | None) -> Tensor:
        """``x`` of any shape [..., D]; ``key`` an int32 scalar, or None for no dropout."""
        if key is None or self.rate == 0:
            return x
        rows, columns = x.size // x.shape[-1], x.shape[-1]
        layer_key = mix(mix(key) + self.salt)
        row = mix(ops.bitwise_xor(ops.arange(rows, dtype=ms.int32), layer_key))
        column = mix(ops.arange(columns, dtype=ms.int32))
        bits = mix(ops.bitwise_xor(row.reshape(rows, 1), column)).reshape(x.shape)
        return x * ((bits >= self.lowest_kept).astype(x.dtype) * self.scale)
