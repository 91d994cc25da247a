"""Both forms of each operator, the CPU's and MindSpore's own: values and gradients against NumPy in float64."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from deit.config.schema import PrecisionConfig
from deit.models import operators
from deit.models.layers import PatchProjection
from deit.models.precision import FLOAT32, compute_types

pytestmark = pytest.mark.usefixtures("graph_mode")
ROWS, WIDTH = 12, 20
EXACT = Callable[..., np.ndarray]


def phi(x: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(x)


def norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-6) * gamma + beta


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


ROW, LINE = (3, 4, WIDTH), (WIDTH,)
CASES: dict[str, tuple[Callable[[Any], Any], EXACT, list[tuple[int, ...]]]] = {
    "bias": (operators.bias_add, lambda x, b: x + b, [(ROWS, WIDTH), LINE]),
    "layer_norm": (lambda types: operators.layer_norm(WIDTH, types), norm, [ROW, LINE, LINE]),
    "gelu": (operators.gelu, lambda x: x * phi(x), [ROW]),
    "softmax": (operators.softmax, softmax, [(2, 3, 4, WIDTH)]),
}


class First(nn.Cell):
    """The first output of an operator, weighed, so that its gradient is not the same everywhere."""

    def __init__(self, operator: Any) -> None:
        super().__init__()
        self.operator = operator

    def construct(self, weights: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        y = self.operator(*inputs)
        y = y[0] if isinstance(y, tuple) else y
        return (y * weights).sum(), y


def numeric(function: EXACT, inputs: list[np.ndarray], weights: np.ndarray, which: int) -> np.ndarray:
    """The gradient of sum(weights * function(inputs)) by central differences in float64."""
    gradient, step = np.zeros_like(inputs[which]), 1e-5
    for place in np.ndindex(gradient.shape):
        moved = [array.copy() for array in inputs]
        moved[which][place] += step
        above = (function(*moved) * weights).sum()
        moved[which][place] -= 2 * step
        gradient[place] = (above - (function(*moved) * weights).sum()) / (2 * step)
    return gradient


@pytest.mark.parametrize("elementary", [True, False], ids=["cpu", "elsewhere"])
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name: str, elementary: bool) -> None:
    build, exact, shapes = CASES[name]
    rng = np.random.default_rng(0)
    # An offset as large as the deviation: a variance from E[x^2] - E[x]^2 would show.
    inputs = [2 * rng.standard_normal(shape) + 3 * (name == "layer_norm") for shape in shapes]
    value = exact(*inputs)
    weights = rng.standard_normal(value.shape)
    operator = build(dataclasses.replace(FLOAT32, elementary=elementary))
    assert isinstance(operator, nn.Cell) or not elementary
    positions = tuple(range(1, 1 + len(inputs)))
    differentiated = ms.value_and_grad(First(operator), grad_position=positions, has_aux=True)
    (_, y), gradients = differentiated(*(Tensor(a.astype(np.float32)) for a in (weights, *inputs)))
    assert np.abs(y.asnumpy() - value).max() < 1e-6 * max(1, np.abs(value).max())
    for which, gradient in enumerate(gradients if isinstance(gradients, tuple) else (gradients,)):
        expected = numeric(exact, inputs, weights, which)
        # The CPU's exp is right to 4e-6 of its value, in MindSpore's own gradient of erf as well.
        assert np.abs(gradient.asnumpy() - expected).max() < 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_patch_projection_is_the_convolution_with_stride_as_large_as_its_kernel(channels: int) -> None:
    rng = np.random.default_rng(1)
    images, weight = rng.standard_normal((2, channels, 12, 8)), rng.standard_normal((5, channels, 4, 4))
    projection = PatchProjection(5, 4, channels, FLOAT32)
    projection.weight.set_data(Tensor(weight.astype(np.float32)))
    projection.bias.set_data(Tensor(np.arange(5, dtype=np.float32)))
    found = projection(Tensor(images.astype(np.float32))).asnumpy()
    convolution = ops.Conv2D(5, 4, stride=4, pad_mode="valid")(
        Tensor(images.astype(np.float32)), Tensor(weight.astype(np.float32))
    )
    expected = convolution.asnumpy().reshape(2, 5, 6).transpose(0, 2, 1) + np.arange(5)
    assert found.shape == (2, 6, 5)
    assert np.abs(found - expected).max() < 1e-5


def test_ascend_and_half_precision_take_fused_operators() -> None:
    assert compute_types(PrecisionConfig("O0", "float16", "none", 1.0, 1), "cpu") == FLOAT32
    for level, target in (("O0", "ascend"), ("O0", "gpu"), ("O1", "cpu"), ("O3", "ascend")):
        assert not compute_types(PrecisionConfig(level, "float16", "none", 1.0, 1), target).elementary
