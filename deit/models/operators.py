"""Which MindSpore operators compute bias, LayerNorm, GELU and softmax on which device, and why.

On Ascend and in half precision the layers use MindSpore's own operators, because Ascend has fused kernels for them. On the CPU
the gradients of these operators are slow: some run on one thread, others take many passes. In float32 on the CPU the layers
therefore use the classes of this module: the same formulas in elementary operators, with their own backward passes. Nothing is
approximated. Sums run over the rows or columns of a matrix, for which the CPU has fast kernels; over two axes, as in the
derived gradients, the same sums take several times as long.


| | Ascend, half precision | float32 on the CPU | gradient of 3152 x 768 numbers on 2 cores |
|---|---|---|---|
| bias | BiasAdd | BiasAdd, own gradient | 7.8 -> 1.3 ms |
| LayerNorm | LayerNorm | two means, own gradient | 50 -> 15 ms |
| GELU | Ascend: GeluExt; else Erf, derived gradient with Pow and Div | Erf, own gradient from the stored parts | 30 -> 9 ms |
| softmax | Softmax | Softmax, own gradient | 20 -> 6 ms |

The patch embedding (``deit.models.layers.PatchProjection``) is a matrix product on every device. As a Conv2D it took half of a
train step on the CPU: 5,553 ms instead of 21 for 16 images of 224 pixels. ``benchmarks/profile_step.py`` shows the operators
of a step; docs/performance.md has the tables.
"""

from __future__ import annotations

import math
from typing import Any

from mindspore import Tensor, mint, nn, ops

from deit.models.precision import ComputeTypes

EPSILON = 1e-6  # of LayerNorm, as timm; MindSpore's default is 1e-7


def bias_add(types: ComputeTypes) -> Any:
    """x [rows, width] + bias [width]."""
    return ElementaryBiasAdd() if types.elementary else ops.BiasAdd()


def layer_norm(width: int, types: ComputeTypes) -> Any:
    """(x [..., width], gamma [width], beta [width]) to a tuple that begins with the normed x."""
    if types.elementary:
        return ElementaryLayerNorm(width)
    return ops.LayerNorm(begin_norm_axis=-1, begin_params_axis=-1, epsilon=EPSILON)


def gelu(types: ComputeTypes) -> nn.Cell:
    """x to x * Phi(x), for x of any shape; the exact form with erf."""
    return ElementaryGelu() if types.elementary else AscendGelu() if types.ascend else Gelu()


def softmax(types: ComputeTypes) -> Any:
    """Softmax over the last axis."""
    return ElementarySoftmax() if types.elementary else ops.Softmax(-1)


class ElementaryBiasAdd(nn.Cell):
    """See ``bias_add``."""

    def __init__(self) -> None:
        super().__init__()
        self.add = ops.BiasAdd()

    def construct(self, x: Tensor, bias: Tensor) -> Tensor:
        return self.add(x, bias)

    def bprop(self, x: Tensor, bias: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return dout, dout.sum(0)


class ElementaryLayerNorm(nn.Cell):
    """See ``layer_norm``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.add_bias = ops.BiasAdd()
        self.mean = ops.ReduceMean(keep_dims=True)

    def construct(self, x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The normed x, and for the gradient x [rows, width] before gamma and beta and its factor [rows, 1]."""
        rows = x.reshape(-1, self.width)
        centred = rows - self.mean(rows, -1)
        factor = ops.rsqrt(self.mean(ops.square(centred), -1) + EPSILON)
        normed = centred * factor
        return self.add_bias(normed * gamma, beta).reshape(x.shape), normed, factor

    def bprop(
        self, x: Tensor, gamma: Tensor, beta: Tensor, out: tuple[Tensor, Tensor, Tensor], dout: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        _, normed, factor = out
        dy = dout[0].reshape(-1, self.width)
        correlated = dy * normed
        dnormed = dy * gamma
        dx = dnormed - self.mean(dnormed, -1) - normed * self.mean(dnormed * normed, -1)
        return (dx * factor).reshape(x.shape), correlated.sum(0), dy.sum(0)


class Gelu(nn.Cell):
    """See ``gelu``; MindSpore's default is the tanh form."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.gelu(x, approximate="none")


class AscendGelu(nn.Cell):
    """See ``gelu``; one kernel, and one for the gradient."""

    def construct(self, x: Tensor) -> Tensor:
        return mint.nn.functional.gelu(x, approximate="none")


class ElementaryGelu(nn.Cell):
    """See ``gelu``."""

    def __init__(self) -> None:
        super().__init__()
        self.forward = Parts()

    def construct(self, x: Tensor) -> Tensor:
        return self.forward(x)[0]


class Parts(nn.Cell):
    """x to x * Phi(x), and for the gradient Phi(x) and x / sqrt 2."""

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scaled = x * math.sqrt(0.5)
        phi = ops.erf(scaled) * 0.5 + 0.5
        return x * phi, phi, scaled

    def bprop(self, x: Tensor, out: tuple[Tensor, Tensor, Tensor], dout: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor]:
        _, phi, scaled = out
        # x times the normal density is scaled * exp(-scaled^2) / sqrt(pi); the factor is in the exponent.
        density = ops.exp(-0.5 * math.log(math.pi) - ops.square(scaled))
        return (dout[0] * (phi + scaled * density),)


class ElementarySoftmax(nn.Cell):
    """See ``softmax``."""

    def __init__(self) -> None:
        super().__init__()
        self.softmax = ops.Softmax(-1)
        self.sum = ops.ReduceSum(keep_dims=True)

    def construct(self, x: Tensor) -> Tensor:
        return self.softmax(x)

    def bprop(self, x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
        columns = x.shape[-1]
        sums = self.sum((out * dout).reshape(-1, columns), -1)
        return (out * (dout - sums.reshape(*x.shape[:-1], 1)),)
