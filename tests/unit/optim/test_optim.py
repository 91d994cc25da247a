"""Optimizers against their definitions, and inside a compiled training step."""

from __future__ import annotations

import dataclasses

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from deit.config.schema import VARIANTS, AdamWOptim, LambOptim, ModelConfig, OptimConfig, SgdOptim
from deit.models.deit import build_model
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights
from deit.optim.build import build_optimizer
from deit.optim.moments import one_minus_exp
from deit.preflight.disk_space import MOMENTS

ADAMW = AdamWOptim("adamw", 5e-4, 512, 0.05, False, None, 1, betas=[0.9, 0.999], eps=1e-8)
LAMB = LambOptim("lamb", 3e-3, None, 0.05, False, 1.0, 1, betas=[0.9, 0.999], eps=1e-8)
SGD = SgdOptim("sgd", 0.1, 512, 1e-2, False, None, 1, momentum=0.9, nesterov=False)


pytestmark = pytest.mark.usefixtures("graph_mode")


class Update(nn.Cell):
    """Two gradients into the optimizer; a tuple from outside would be compiled in as a constant."""

    def __init__(self, optimizer: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer

    def construct(self, matrix: Tensor, bias: Tensor, lr: Tensor) -> bool:
        return self.optimizer((matrix, bias), lr)


def parameters() -> list[Parameter]:
    random = np.random.default_rng(0)
    shapes = {"head.weight": (4, 6), "head.bias": (6,)}
    return [Parameter(Tensor(random.standard_normal(shape, np.float32)), name=name) for name, shape in shapes.items()]


def inputs(step: int) -> tuple[list[np.ndarray], np.float32]:
    """Gradients over four orders of magnitude, and a moving learning rate."""
    random = np.random.default_rng([1, step])
    scale = np.float32(10.0 ** (step % 5 - 3))
    grads = [scale * random.standard_normal(shape, np.float32) for shape in ((4, 6), (6,))]
    return grads, np.float32(1e-3 * (1 + np.cos(step / 20)))


def run(optim: OptimConfig, steps: int) -> tuple[list[np.ndarray], nn.Cell]:
    found = parameters()
    optimizer = build_optimizer(optim, found)
    update = Update(optimizer)
    for step in range(steps):
        grads, lr = inputs(step)
        update(*(Tensor(g) for g in grads), Tensor(lr))
    return [p.asnumpy() for p in found], optimizer


@pytest.mark.parametrize("betas", [[0.9, 0.999], [0.0, 0.95]], ids=["usual", "no first moment"])
def test_adamw_equals_torch(betas: list[float]) -> None:
    steps = 60
    found, optimizer = run(dataclasses.replace(ADAMW, betas=betas), steps)
    (beta1, beta2), moments = betas, []
    for i, decay in enumerate((0.05, 0.0)):
        p = parameters()[i].asnumpy().astype(np.float64)
        m, v = np.zeros_like(p), np.zeros_like(p)
        for step in range(steps):
            grads, lr = inputs(step)
            g, t = grads[i].astype(np.float64), step + 1
            p *= 1 - float(lr) * decay
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            p -= float(lr) / (1 - beta1**t) * m / (np.sqrt(v) / np.sqrt(1 - beta2**t) + 1e-8)
        np.testing.assert_allclose(found[i], p, atol=1e-6)
        moments += [m, v]
    state = {name: p.asnumpy() for name, p in optimizer.state.items()}
    assert list(state) == ["step", "exp_avg.head.weight", "exp_avg.head.bias", "exp_avg_sq.head.weight", "exp_avg_sq.head.bias"]
    assert state["step"] == steps
    for name, expected in zip(("exp_avg.head.weight", "exp_avg_sq.head.weight"), moments[:2], strict=True):
        np.testing.assert_allclose(state[name], expected, rtol=1e-4, atol=1e-7)


def test_bias_correction_is_exact_from_the_first_step() -> None:
    steps = np.array([1, 2, 10, 1000, 1e6])
    found = one_minus_exp(Tensor(steps * np.log(0.999), ms.float32)).asnumpy()
    np.testing.assert_allclose(found, 1 - 0.999**steps, rtol=3e-7)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_equals_torch(nesterov: bool) -> None:
    steps = 30
    found, optimizer = run(dataclasses.replace(SGD, nesterov=nesterov), steps)
    for i, decay in enumerate((1e-2, 0.0)):
        p = parameters()[i].asnumpy().astype(np.float64)
        buffer = None
        for step in range(steps):
            grads, lr = inputs(step)
            g = grads[i].astype(np.float64) + decay * p
            buffer = g if buffer is None else 0.9 * buffer + g
            p -= float(lr) * (g + 0.9 * buffer if nesterov else buffer)
        np.testing.assert_allclose(found[i], p, atol=1e-6)
        np.testing.assert_allclose(optimizer.momentum_buffer[i].asnumpy(), buffer, rtol=1e-5, atol=1e-6)
    assert list(optimizer.state) == ["momentum_buffer.head.weight", "momentum_buffer.head.bias"]


@pytest.mark.parametrize("optim", [ADAMW, LAMB, SGD], ids=["adamw", "lamb", "sgd"])
def test_layer_decay_scales_the_rate_of_each_layer(optim: OptimConfig) -> None:
    """Bit for bit the update with half the rate, since a factor of 2 rounds nothing."""

    def trained(layer_decay: float, factor: float) -> list[np.ndarray]:
        found = parameters()
        found[0].name = "blocks.0.mlp.fc1.weight"
        update = Update(build_optimizer(dataclasses.replace(optim, layer_decay=layer_decay), found))
        for step in range(5):
            grads, lr = inputs(step)
            update(*(Tensor(g) for g in grads), Tensor(lr * np.float32(factor)))
        return [p.asnumpy() for p in found]

    block, head = trained(0.5, 1)
    np.testing.assert_array_equal(block, trained(1, 0.5)[0])
    np.testing.assert_array_equal(head, trained(1, 1)[1])


class TrainStep(nn.Cell):
    """Forward, backward, and the optimizer only if the loss is finite."""

    def __init__(self, network: nn.Cell, optimizer: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.optimizer = network, optimizer
        self.gradients = ms.value_and_grad(self.loss, None, optimizer.parameters)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return ops.cross_entropy(self.network(images), labels)

    def construct(self, images: Tensor, labels: Tensor, lr: Tensor) -> Tensor:
        loss, grads = self.gradients(images, labels)
        if ops.isfinite(loss):
            self.optimizer(grads, lr)
        return loss


@pytest.mark.parametrize("optim", [ADAMW, LAMB, SGD], ids=["adamw", "lamb", "sgd"])
def test_compiled_step_learns_skips_overflows_and_sees_loaded_weights(optim: OptimConfig) -> None:
    config = ModelConfig("test", 8, 4, 16, 1, 2, 4.0, False, 0.0, 0.0, "plain")
    start = initial_weights(parameter_shapes(config, 5), seed=0)
    network = build_model(config, 5)
    load_weights(network, start)
    optimizer = build_optimizer(optim, network.trainable_params())
    assert [p.name for p in network.trainable_params()] == list(start)  # the optimizer renames nothing
    step = TrainStep(network, optimizer)

    random = np.random.default_rng(0)
    images, labels = random.standard_normal((6, 3, 8, 8), np.float32), Tensor(np.arange(6) % 5, ms.int32)
    lr = Tensor(1e-2, ms.float32)

    def everything() -> dict[str, bytes]:
        held = {p.name: p for p in network.trainable_params()} | optimizer.state
        return {name: p.asnumpy().tobytes() for name, p in held.items()}

    def train() -> list[float]:
        return [float(step(Tensor(images), labels, lr)) for _ in range(6)]

    losses = train()
    assert losses[-1] < losses[0] - 0.04

    before = everything()
    overflow = step(Tensor(np.full_like(images, np.inf)), labels, lr)
    assert not np.isfinite(float(overflow))
    assert everything() == before

    assert float(step(Tensor(images), labels, lr)) < losses[-1]
    assert all(value != before[name] for name, value in everything().items())

    # The same compiled step goes on from weights and state put back by the host, bit for bit. (The loss itself is
    # compared less strictly: the CPU's cross entropy tries out numbers of threads in its first calls, and its last digit
    # depends on them.)
    load_weights(network, start)
    for parameter in optimizer.state.values():
        ops.assign(parameter, ops.zeros_like(parameter))
    assert train() == pytest.approx(losses, rel=1e-6)
    assert everything() == before


def test_memory_of_every_optimizer_is_known() -> None:
    assert MOMENTS.keys() == VARIANTS[OptimConfig].keys()


@pytest.mark.parametrize(("weight", "gradient"), [(0.0, 1.0), (2.0, 0.0), (0.0, 0.0)])
def test_lamb_does_not_scale_if_a_norm_is_zero(weight: float, gradient: float) -> None:
    parameter = Parameter(Tensor(np.full((2, 3), weight, np.float32)), name="w.weight")
    optimizer = build_optimizer(dataclasses.replace(LAMB, weight_decay=1e-9), [parameter])
    optimizer((Tensor(np.full((2, 3), gradient, np.float32)),), Tensor(0.1, ms.float32))
    expected = weight - 0.1 * (1.0 if gradient else 0.0)
    if weight and not gradient:  # the update is the decay alone, of the parameter's direction: scaled to its size
        expected = weight - 0.1 * weight
    np.testing.assert_allclose(parameter.asnumpy(), expected, atol=1e-6)
