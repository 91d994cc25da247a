"""Whole trainings against timm and torch: this project's training step on the same weights, batches, masks and rates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import mindspore as ms
import numpy as np
import pytest
from composition import composed
from fidelity import load, worst
from mindspore import Tensor
from reference import inputs_trajectory as inputs
from reference.packing import checksum

from deit.config.schema import AdamWOptim, LambOptim, LossConfig, RunConfig
from deit.engine.loss import build_loss
from deit.engine.normalize import Normalize
from deit.engine.state import TrainState
from deit.engine.step import TrainStep
from deit.engine.step_inputs import BatchInputs, StepInputs
from deit.weights.naming import to_mindspore, to_timm

ADAMW = "timm 1.0.31 and torch 2.13.0 AdamW"

pytestmark = pytest.mark.usefixtures("graph_mode")


def configured(training: inputs.Training) -> RunConfig:
    mixing = ("augment.mixup=0.8", "augment.cutmix=1.0", "augment.mixup_prob=1.0", "augment.reprob=0.0")
    config = composed("experiment=quickstart", *mixing, f"data.batch_size={training.batch}")
    common = (training.lr, None, inputs.WEIGHT_DECAY, False, training.clip, 1)
    kind = LambOptim if training.optimizer == "lamb" else AdamWOptim
    optim = kind(training.optimizer, *common, betas=list(inputs.BETAS), eps=inputs.EPS)
    return dataclasses.replace(
        config,
        model=training.model,
        optim=optim,
        loss=LossConfig(training.loss),
        data=dataclasses.replace(config.data, mean=list(inputs.MEAN), std=list(inputs.STD)),
        augment=dataclasses.replace(config.augment, smoothing=training.smoothing),
        ema=dataclasses.replace(config.ema, enabled=True, decay=inputs.EMA_DECAY),
    )


def train(training: inputs.Training) -> dict[str, np.ndarray]:
    """What ``reference.trajectory.train`` answers, of this project's network and training step."""
    config = configured(training)
    state = TrainState(config, to_mindspore(inputs.start(training)))
    loss, scale = build_loss(config.loss, config.distill), state.loss_scale
    step_cell = TrainStep(config, state.network, state.average, loss, state.optimizer, scale, None, 1, True)
    found: dict[str, list[float]] = {"loss": [], "norm": []}
    for step in range(training.steps):
        batch = inputs.batch(training, step)
        mixing = (
            Tensor(np.full(training.batch, batch.blend, np.float32)),
            Tensor(np.tile(np.array(batch.box, np.int32), (training.batch, 1))),
            Tensor(np.full(training.batch, batch.lam, np.float32)),
        )
        given = StepInputs(
            *BatchInputs(Tensor(batch.images), Tensor(batch.labels), None, None, *mixing),
            drop_path=Tensor(batch.drop_path),
            dropout_key=None,
            first=Tensor(True),
            lr=Tensor(inputs.learning_rate(training, step), ms.float32),
        )
        step_loss, norm, finite, _ = step_cell(*given)
        assert bool(finite.asnumpy())
        found["loss"].append(float(step_loss.asnumpy()))
        found["norm"].append(float(norm.asnumpy()))
    parts = state.parts()
    ms.set_context(mode=ms.PYNATIVE_MODE)  # without a compilation; graphs of these networks are compared in test_model.py
    logits = state.network(Normalize(list(inputs.MEAN), list(inputs.STD))(Tensor(inputs.batch(training, 0).images)))
    arrays = {what: np.array(values) for what, values in found.items()} | {"logits": logits.asnumpy()}
    for what, part in (("weights", "model"), ("ema", "ema")):
        named = to_timm(parts[part])
        arrays |= {f"{what}.{name}": inputs.sample(value) for name, value in named.items() if inputs.moved(name)}
    return arrays | {"inputs": checksum(inputs.given(training))}


@pytest.mark.parametrize("name", inputs.TRAININGS)
def test_trajectory(name: str, fidelity: Callable[..., None]) -> None:
    training = inputs.TRAININGS[name]
    stored = {key.removeprefix(f"{name}."): value for key, value in load("trajectory").items() if key.startswith(f"{name}.")}
    found = train(training)
    assert found["inputs"] == stored["inputs"]
    assert found.keys() == stored.keys()
    if training.steps > 100:
        assert stored["loss"][-10:].mean() < 0.8 * stored["loss"][:10].mean()  # it has learned something
    assert (stored["norm"] > training.clip).any()  # the clip was active
    reference = "timm 1.0.31 with its Lamb and BinaryCrossEntropy" if training.optimizer == "lamb" else ADAMW
    claim = dict(section="Trajectory", reference=reference)
    what = f"{training.steps} steps of {name}"

    def relative(key: str) -> float:
        return worst(found[key], stored[key], scale=np.abs(stored[key]))

    fidelity(f"{what}: loss of each step", tolerance=1e-4, measured=relative("loss"), unit="relative", **claim)
    fidelity(f"{what}: norm of each gradient", tolerance=1e-3, measured=relative("norm"), unit="relative", **claim)
    for part, said in (("weights.", "weights at the end"), ("ema.", "moving average at the end")):
        measured = max(worst(found[key], stored[key]) for key in stored if key.startswith(part))
        fidelity(f"{what}: {said}", tolerance=1e-4, measured=measured, **claim)
    fidelity(f"{what}: logits at the end", tolerance=1e-3, measured=worst(found["logits"], stored["logits"]), **claim)
