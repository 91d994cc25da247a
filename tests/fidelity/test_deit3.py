"""DeiT III against timm: names, logits of every variant, decayed parameters, rates of stochastic depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import yaml
from composition import composed
from fidelity import load, worst
from mindspore import Tensor
from reference.inputs_deit3 import RESIZED, VARIANTS, Variant
from reference.inputs_model import images, weights
from reference.packing import checksum, unpack

from deit.compose import groups
from deit.config.schema import ModelConfig
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
