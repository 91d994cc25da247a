"""The networks against timm's: names, logits of every variant, initial weights, rates of stochastic depth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import yaml
from composition import composed
from fidelity import load, worst
from mindspore import Tensor
from reference.inputs_model import RESIZED, VARIANTS, count, images, weights
from reference.packing import checksum, unpack

from deit.compose import groups
from deit.config.schema import ModelConfig
from deit.engine.loss import mean_of_heads
from deit.engine.step_randomness import drop_path
from deit.models.deit import build_model
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights
from deit.weights.naming import to_mindspore
from deit.weights.pos_embed import resize

TIMM1 = "timm 1.0.31"
FB = "timm 0.3.2 with FB's arguments"

pytestmark = pytest.mark.usefixtures("graph_mode")


def model(option: str) -> ModelConfig:
    return ModelConfig(**yaml.safe_load((groups.CONF / "model" / f"{option}.yaml").read_text(encoding="utf-8")))


def timm_shapes(variant: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in unpack(load("model")["names"])[variant].items()}


def logits(config: ModelConfig, filled: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """[heads, B, K] as the fixture has them: a distilled model's two heads and their mean."""
    network = build_model(config, 1000)
    load_weights(network, to_mindspore(filled))
    outputs = network(Tensor(x))
    if not config.distilled:
        return outputs.asnumpy()[None]
    return np.stack([*(head.asnumpy() for head in outputs), mean_of_heads(outputs).asnumpy()])


def heads(config: ModelConfig) -> str:
    return ": both heads and their mean" if config.distilled else ""


def test_names_and_shapes(fidelity: Callable[..., None]) -> None:
    different = 0
    for variant, option in VARIANTS.items():
        ours = parameter_shapes(model(option), 1000)
        different += list(to_mindspore(timm_shapes(variant)).items()) != list(ours.items())
    fidelity(
        "Names, order and shapes of the parameters, 8 variants",
        section="Model",
        reference=TIMM1,
        tolerance=0,
        measured=different,
        unit="variants differ",
    )


@pytest.mark.parametrize(("variant", "option"), VARIANTS.items(), ids=VARIANTS.values())
def test_logits(variant: str, option: str, fidelity: Callable[..., None]) -> None:
    config, stored = model(option), load("model")
    filled, x = weights(timm_shapes(variant)), images(count(config.img_size), config.img_size)
    assert checksum([*filled.values(), x]) == stored[f"inputs.{variant}"]
    fidelity(
        f"Logits of {option}{heads(config)}",
        section="Model",
        reference=f"{TIMM1}, {variant}",
        tolerance=1e-5,
        measured=worst(logits(config, filled, x), stored[f"logits.{variant}"]),
    )


def test_logits_at_another_size(fidelity: Callable[..., None]) -> None:
    config = dataclasses.replace(model(VARIANTS[RESIZED]), img_size=384)
    filled = weights(timm_shapes(RESIZED))
    filled["pos_embed"] = resize(filled["pos_embed"], prefix=2, grid=24)
    fidelity(
        f"Logits of {config.name} at 384 pixels from weights for 224{heads(config)}",
        section="Model",
        reference=f"{TIMM1}, {RESIZED}, position embedding resized by torch",
        tolerance=1e-5,
        measured=worst(logits(config, filled, images(count(384), 384)), load("model")["logits.resized"]),
    )


@pytest.mark.parametrize("option", ["deit_tiny_distilled", "deit_small"])
def test_initial_weights(option: str, fidelity: Callable[..., None]) -> None:
    """Differences in standard errors: of some 600 comparisons the largest is expected near 3.5."""
    stored = load("initial")
    shapes = parameter_shapes(model(option), 1000)
    seeds = [initial_weights(shapes, seed) for seed in range(5)]
    ours = {name: np.concatenate([weights[name].ravel() for weights in seeds]).astype(np.float64) for name in shapes}
    theirs = to_mindspore(dict(zip(unpack(stored["names"])[option], stored[f"moments.{option}"], strict=True)))
    assert ours.keys() == theirs.keys()
    mean = deviation = form = 0.0
    constants = 0
    for name, (their_mean, their_deviation, size) in theirs.items():
        our_mean, our_deviation = ours[name].mean(), ours[name].std()
        if their_deviation == 0:
            constants += our_deviation != 0 or our_mean != their_mean
            continue
        share = 1 / ours[name].size + 1 / size
        mean = max(mean, abs(our_mean - their_mean) / (their_deviation * math.sqrt(share)))
        deviation = max(deviation, abs(our_deviation / their_deviation - 1) / math.sqrt(share / 2))
    for name, values in ours.items():
        sample = stored.get(f"sample.{option}.{name}")
        if sample is not None:
            form = max(form, kolmogorov_smirnov(values, sample))
    what = f"Initial weights of {option}"
    claim = dict(section="Model", reference=f"{FB}, 5 seeds")
    fidelity(f"{what}: norms and biases", **claim, tolerance=0, measured=constants, unit="differ")
    fidelity(f"{what}: mean of each parameter", **claim, tolerance=5, measured=mean, unit="standard errors")
    fidelity(f"{what}: deviation of each parameter", **claim, tolerance=5, measured=deviation, unit="standard errors")
    # 2 is passed by fewer than one in a thousand samples of the same distribution.
    fidelity(f"{what}: Kolmogorov-Smirnov of samples", **claim, tolerance=2, measured=form)


def kolmogorov_smirnov(one: np.ndarray, other: np.ndarray) -> float:
    """The two-sample statistic in its asymptotic scale: D * sqrt(n m / (n + m))."""
    one, other = np.sort(one), np.sort(other)
    points = np.concatenate([one, other])
    distance = np.abs(
        np.searchsorted(one, points, "right") / one.size - np.searchsorted(other, points, "right") / other.size
    ).max()
    return float(distance * math.sqrt(one.size * other.size / (one.size + other.size)))


def test_drop_path_rates(fidelity: Callable[..., None]) -> None:
    config = composed("experiment=deit_tiny_paper", "hardware=cpu", "data.batch_size=256")
    factors = drop_path(config, 0, 0, 1).asnumpy().reshape(12, -1)  # of both branches of a block
    rates = [1 - 1 / block.max() for block in factors]
    fidelity(
        "Stochastic depth: rate of each block",
        section="Model",
        reference=FB,
        tolerance=1e-6,
        measured=worst(np.array(rates), load("initial")["drop_path"]),
    )
    kept = abs((factors > 0).mean(1) - (1 - np.array(rates))) / np.sqrt(np.maximum(np.array(rates), 1e-9) / factors.shape[1])
    fidelity(
        "Stochastic depth: share of branches dropped in each block",
        section="Model",
        reference=FB,
        tolerance=4,
        measured=float(kept.max()),
        unit="standard errors",
    )
