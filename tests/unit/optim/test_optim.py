"""Schedule, parameter groups and optimizers against their definitions, and inside a compiled training step."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
import yaml
from mindspore import Parameter, Tensor, nn, ops

from deit.config.schema import VARIANTS, AdamWOptim, LambOptim, ModelConfig, OptimConfig, ScheduleConfig, SgdOptim
from deit.models.deit import build_model
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights
from deit.optim.build import build_optimizer
from deit.optim.moments import one_minus_exp
from deit.optim.parameter_groups import decayed, lr_scales
from deit.preflight.disk_space import MOMENTS
from deit.recipe.schedule import learning_rate, peak_lr

CONF = Path(__file__).parents[3] / "conf"
COSINE = ScheduleConfig("cosine", 300, 10, 5, 1e-6, 1e-5, "epoch", None)
ADAMW = AdamWOptim("adamw", 5e-4, 512, 0.05, False, None, 1, betas=[0.9, 0.999], eps=1e-8)
LAMB = LambOptim("lamb", 3e-3, None, 0.05, False, 1.0, 1, betas=[0.9, 0.999], eps=1e-8)
SGD = SgdOptim("sgd", 0.1, 512, 1e-2, False, None, 1, momentum=0.9, nesterov=False)


pytestmark = pytest.mark.usefixtures("graph_mode")


# --------------------------------------------------------------------------------------------- schedule


@pytest.mark.parametrize(
    ("epoch", "lr"),
    [(0, 1e-6), (1, 2.008e-4), (4, 8.002e-4), (5, 9.9932162e-4), (150, 5.05e-4), (299, 1.00271e-5), (300, 1e-5), (309, 1e-5)],
)
def test_cosine_equals_timm(epoch: int, lr: float) -> None:
    for step in (epoch * 7, epoch * 7 + 6):  # the whole epoch has one rate
        assert learning_rate(COSINE, 1e-3, step, 7) == pytest.approx(lr, rel=5e-6)  # the oracle has six digits


def test_cosine_per_step_passes_through_the_same_points() -> None:
    schedule = dataclasses.replace(COSINE, granularity="step")
    assert learning_rate(schedule, 1e-3, 40, 8) == pytest.approx(9.9932162e-4, rel=1e-6)
    assert learning_rate(schedule, 1e-3, 4, 8) == pytest.approx((1e-6 + 2.008e-4) / 2)
    rates = [learning_rate(schedule, 1e-3, step, 8) for step in range(310 * 8)]
    assert rates[:40] == sorted(rates[:40])
    assert rates[40:2401] == sorted(rates[40:2401], reverse=True)
    assert set(rates[2400:]) == {1e-5}


def test_constant_schedule_keeps_the_peak_between_warmup_and_cooldown() -> None:
    schedule = dataclasses.replace(COSINE, name="constant", epochs=10, warmup_epochs=2, cooldown_epochs=3)
    rates = [learning_rate(schedule, 1e-3, step, 1) for step in range(13)]
    assert rates == pytest.approx([1e-6, 5.005e-4, *[1e-3] * 8, *[1e-5] * 3])


def test_peak_scales_with_the_batch() -> None:
    assert peak_lr(ADAMW, 1024) == pytest.approx(1e-3)
    assert peak_lr(dataclasses.replace(ADAMW, lr_base_size=None), 1024) == 5e-4


# ----------------------------------------------------------------------------------------------- groups


def conf_model(name: str) -> ModelConfig:
    return ModelConfig(**yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8")))


def test_weight_decay_applies_only_to_matrices() -> None:
    choice = decayed(parameter_shapes(conf_model("deit_small"), 1000), decay_dist_token=False)
    assert len(choice) == 152
    expected = {"patch_embed.proj.weight", "head.weight"}
    for block in range(12):
        expected |= {f"blocks.{block}.{name}.weight" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    assert {name for name, yes in choice.items() if yes} == expected
    assert len(expected) == 50


def test_decay_of_the_distillation_token_is_configurable() -> None:
    shapes = parameter_shapes(conf_model("deit_small_distilled"), 1000)
    timm, facebook = decayed(shapes, decay_dist_token=False), decayed(shapes, decay_dist_token=True)
    assert {name for name in shapes if timm[name] != facebook[name]} == {"dist_token"}
    assert facebook["dist_token"]


def test_parameter_groups_do_not_depend_on_an_enclosing_cell() -> None:
    assert decayed({"network.pos_embed": (1, 5, 4), "network.head.weight": (3, 4)}, False) == {
        "network.pos_embed": False,
        "network.head.weight": True,
    }


@pytest.mark.parametrize("name", ["deit_small", "deit_small_distilled", "deit3_small"])
def test_layer_decay_is_a_power_of_the_distance_from_the_head(name: str) -> None:
    found = lr_scales(parameter_shapes(conf_model(name), 1000), 0.5)
    expected = {"head": 1, "head_dist": 1, "norm": 1 / 2, "patch_embed": 2**-13}
    expected |= dict.fromkeys(("cls_token", "pos_embed", "dist_token"), 2**-13)
    for parameter, scale in found.items():
        layer, _, rest = parameter.partition(".")
        block = int(rest.partition(".")[0]) if layer == "blocks" else None
        assert scale == (expected[layer] if block is None else 0.5 ** (12 - block)), parameter


def test_layer_decay_works_with_prefixed_names() -> None:
    names = (
        "net.blocks.0.norm1.gamma",
        "net.blocks.1.mlp.fc1.bias",
        "net.norm.beta",
        "net.patch_embed.proj.bias",
        "net.head.bias",
    )
    assert list(lr_scales(names, 0.1).values()) == pytest.approx([0.01, 0.1, 0.1, 0.001, 1])


# ------------------------------------------------------------------------------------------- optimizers


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


def test_the_bias_correction_is_exact_from_the_first_step_on() -> None:
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


# ---------------------------------------------------------------------------------------- a training step


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
def test_a_compiled_step_learns_skips_overflows_and_sees_loaded_weights(optim: OptimConfig) -> None:
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
