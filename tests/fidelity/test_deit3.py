"""DeiT III against timm: names, logits of every variant, decayed parameters, rates of stochastic depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import mindspore as ms
import numpy as np
import pytest
import yaml
from composition import composed
from fidelity import load, worst
from mindspore import ParameterTuple, Tensor, nn
from reference import inputs_deit3 as inputs
from reference.inputs_deit3 import RESIZED, VARIANTS, Variant
from reference.inputs_model import images, weights
from reference.packing import checksum, unpack

from deit.compose import groups
from deit.config.schema import DistillConfig, LossConfig, ModelConfig
from deit.engine import mixing
from deit.engine.loss import build_loss
from deit.engine.step_randomness import drop_path
from deit.models.deit import build_model
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights
from deit.optim.parameter_groups import decayed
from deit.weights.naming import to_mindspore, to_timm
from deit.weights.pos_embed import resize

TIMM1 = "timm 1.0.31"

pytestmark = pytest.mark.usefixtures("graph_mode")


def model(variant: Variant, depth: int | None = None) -> ModelConfig:
    path = groups.CONF / "model" / f"{variant.option}.yaml"
    whole = ModelConfig(**yaml.safe_load(path.read_text(encoding="utf-8")))
    return dataclasses.replace(whole, depth=depth or whole.depth)


def timm_weights(config: ModelConfig) -> dict[str, np.ndarray]:
    return weights(to_timm(parameter_shapes(config, 1000)))


def logits(config: ModelConfig, filled: dict[str, np.ndarray]) -> np.ndarray:
    network = build_model(config, 1000)
    load_weights(network, to_mindspore(filled))
    return network(Tensor(images(1, config.img_size))).asnumpy()


def test_names_and_shapes(fidelity: Callable[..., None]) -> None:
    stored, different = unpack(load("deit3")["names"]), 0
    for name, variant in VARIANTS.items():
        theirs = to_mindspore({key: tuple(shape) for key, shape in stored[name].items()})
        different += list(theirs.items()) != list(parameter_shapes(model(variant), 1000).items())
    fidelity(
        f"Names, order and shapes of the parameters of DeiT III, {len(VARIANTS)} variants",
        section="Model",
        reference=TIMM1,
        tolerance=0,
        measured=different,
        unit="variants differ",
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_logits(name: str, fidelity: Callable[..., None]) -> None:
    variant, stored = VARIANTS[name], load("deit3")
    config = model(variant, variant.depth)
    filled = timm_weights(config)
    assert checksum([*filled.values(), images(1, config.img_size)]) == stored[f"inputs.{name}"]
    blocks = f", its first {variant.depth} blocks" if variant.depth < model(variant).depth else ""
    fidelity(
        f"Logits of {variant.option}{blocks}",
        section="Model",
        reference=f"{TIMM1}, {name}",
        tolerance=1e-5,
        measured=worst(logits(config, filled), stored[f"logits.{name}"]),
    )


def test_logits_at_another_size(fidelity: Callable[..., None]) -> None:
    config = model(VARIANTS[RESIZED], VARIANTS[RESIZED].depth)
    filled = timm_weights(config)
    filled["pos_embed"] = resize(filled["pos_embed"], prefix=0, grid=24)
    fidelity(
        f"Logits of {config.name} at 384 pixels from weights for 224, its first {config.depth} blocks",
        section="Model",
        reference=f"{TIMM1}, {RESIZED}, position embedding resized by torch",
        tolerance=1e-5,
        measured=worst(logits(dataclasses.replace(config, img_size=384), filled), load("deit3")["logits.resized"]),
    )


def test_groups(fidelity: Callable[..., None]) -> None:
    stored, different = unpack(load("deit3")["decayed"]), 0
    for name, variant in VARIANTS.items():
        chosen = decayed(to_timm(parameter_shapes(model(variant), 1000)), False)
        different += len(set(stored[name]) ^ {key for key, yes in chosen.items() if yes})
    fidelity(
        f"Decayed parameters of DeiT III, {len(VARIANTS)} variants",
        section="Optimizer",
        reference=f"{TIMM1}, param_groups_weight_decay",
        tolerance=0,
        measured=different,
        unit="differ",
    )


def test_uniform_drop_path(fidelity: Callable[..., None]) -> None:
    config = composed("experiment=deit_small_paper", "model=deit3_base", "hardware=cpu", "data.batch_size=256")
    factors = drop_path(config, 0, 0, 1).asnumpy()
    claim = dict(section="Model", reference="FB models_v2.py, one rate for all blocks")
    rates = 1 - 1 / factors.max(1)
    what = "Uniform stochastic depth: rate of each branch"
    fidelity(what, tolerance=1e-6, measured=worst(rates, np.full(24, 0.2)), **claim)
    errors = abs((factors == 0).mean(1) - 0.2) / np.sqrt(0.2 * 0.8 / factors.shape[1])
    what = "Uniform stochastic depth: share dropped in each branch"
    fidelity(what, tolerance=4, measured=float(errors.max()), unit="standard errors", **claim)


class Asked(nn.Cell):
    """A loss and its gradient to the logits that a network computes."""

    def __init__(self, loss: LossConfig, network: nn.Cell, weights: ParameterTuple | None) -> None:
        super().__init__()
        self.network, self.loss = network, build_loss(loss, DistillConfig("none", None, 0.5, 1.0))
        self.gradient = ms.value_and_grad(self.value, 0 if weights is None else None, weights)

    def value(self, x: Tensor, targets: Tensor) -> Tensor:
        return self.loss(self.network(x), None, targets)

    def construct(self, x: Tensor, labels: Tensor, lam: Tensor) -> tuple[Tensor, object]:
        return self.gradient(x, mixing.soft_targets(labels, lam, inputs.CLASSES, 0.0))


LOSSES = {
    "bce": (LossConfig("bce", None), "Binary cross entropy with mixed targets", "BinaryCrossEntropy"),
    "bce_threshold": (
        LossConfig("bce", 0.0),
        "Binary cross entropy with mixed targets above 0 as 1",
        "BinaryCrossEntropy(target_threshold=0)",
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_binary_cross_entropy(name: str, fidelity: Callable[..., None]) -> None:
    (loss, what, said), stored = LOSSES[name], load("deit3")
    assert checksum([inputs.logits(), inputs.labels(), inputs.lam()]) == stored["loss.inputs"]
    given = Tensor(inputs.labels(), ms.int32), Tensor(inputs.lam())
    value, gradient = Asked(loss, nn.Identity(), None)(Tensor(inputs.logits()), *given)
    claim = dict(section="Losses", reference=f"{TIMM1}, {said}", tolerance=1e-5)
    fidelity(what, measured=worst(value.asnumpy()[None], stored[f"{name}.value"]), **claim)
    theirs = stored[f"{name}.gradient"]
    measured = worst(gradient.asnumpy(), theirs, scale=np.abs(theirs).max())
    fidelity(f"{what}: gradient to the logits", measured=measured, unit="of the largest", **claim)


def test_gradients(fidelity: Callable[..., None]) -> None:
    """Of every parameter of a small network, so of LayerScale's factors and the position embedding of the patches alone."""
    loss, _, said = LOSSES["bce"]
    stored = load("deit3")
    config = ModelConfig("small", **inputs.MICRO, mlp_ratio=4.0, distilled=False, drop_rate=0.0, drop_path_rate=0.0)
    config = dataclasses.replace(config, attention="plain", init_values=1e-4, no_embed_class=True)
    network = build_model(config, inputs.CLASSES)
    load_weights(network, to_mindspore(weights(to_timm(parameter_shapes(config, inputs.CLASSES)))))
    parameters = ParameterTuple(network.trainable_params())
    given = Tensor(inputs.labels(), ms.int32), Tensor(inputs.lam())
    _, gradients = Asked(loss, network, parameters)(Tensor(images(inputs.BATCH, config.img_size)), *given)
    found = to_timm({p.name.removeprefix("network."): g.asnumpy() for p, g in zip(parameters, gradients, strict=True)})
    theirs = {name: stored[f"bce.gradient.{name}"] for name in found}
    assert sum(key.startswith("bce.gradient.") for key in stored) == len(found)
    off = {name: worst(inputs.sample(found[name]), value, scale=np.abs(value).max()) for name, value in theirs.items()}
    claim = dict(section="Losses", reference=f"{TIMM1}, {said}", tolerance=1e-5, unit="of the largest")
    scales = max(error for name, error in off.items() if ".ls" in name)
    fidelity("Gradient to LayerScale's factors, of a small DeiT III", measured=scales, **claim)
    fidelity("Gradient to every parameter of a small DeiT III", measured=max(off.values()), **claim)
