"""For the benchmarks: a train step and a forward pass of any configuration, on random pixels and without a run directory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("GLOG_v", "3")

import mindspore as ms
import numpy as np
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from mindspore import Tensor
from omegaconf import open_dict

from deit.commands.table import configured
from deit.compose import groups, overrides
from deit.compose.freeze import register
from deit.config.schema import RunConfig
from deit.data.loader import TrainBatch
from deit.engine import step_randomness
from deit.engine.loss import build_loss
from deit.engine.network import build_network
from deit.engine.normalize import Normalize
from deit.engine.state import TrainState, first_weights
from deit.engine.step import TrainStep
from deit.engine.step_inputs import StepInputs, batch_inputs
from deit.machine.cards import resolve
from deit.models.weights import load_weights
from deit.worker import set_device


def configuration(typed: Sequence[str]) -> RunConfig:
    """A worker's configuration from these overrides; no data are needed."""
    register()
    given = overrides.check(tuple(typed), sweeping=False)
    with initialize_config_dir(str(groups.CONF), version_base="1.3"):
        composed = hydra_compose("config", overrides.readable(typed))
    with open_dict(composed):
        composed.pop("hydra", None)
    config = configured(composed, given)
    classes = config.data.num_classes or 1000
    return dataclasses.replace(
        config, hardware=resolve(config.hardware), data=dataclasses.replace(config.data, num_classes=classes)
    )


def train_step(config: RunConfig) -> Callable[[], Any]:
    """A function that does one optimizer step on the same random batch and waits for it.

    Everything a step of ``task=train`` does on the host is in it, except for the loader: tensors, mixing, stochastic depth.
    """
    set_device(ms, config)
    state = TrainState(config)
    cell = TrainStep(
        config,
        state.network,
        state.average,
        build_loss(config.loss, config.distill),
        state.optimizer,
        state.loss_scale,
        state.buffers,
        1,
        True,
        state.flat,
    )
    rng = np.random.default_rng(0)
    batch, size, count = config.data.batch_size, config.model.img_size, config.augment.recount
    given = TrainBatch(
        images=rng.integers(0, 256, (batch, size, size, 3), np.uint8),
        labels=rng.integers(0, config.data.num_classes or 1000, batch).astype(np.int32),
        indices=np.arange(batch),
        boxes=np.zeros((batch, count, 4), np.int32) if config.augment.reprob > 0 else None,
        # Rows of the noise bank; nothing is erased, but the operators are the same.
        noise=np.zeros((batch, 3, size), np.int32) if config.augment.reprob > 0 else None,
    )
    done = 0

    def step() -> float:
        nonlocal done
        inputs = StepInputs(
            *batch_inputs(config, given, done, rank=0),
            drop_path=step_randomness.drop_path(config, done, 0, 1),
            dropout_key=step_randomness.dropout_key(config, done, 0),
            first=Tensor(True),
            lr=Tensor(1e-4, ms.float32),
        )
        found, *_ = cell(*inputs)
        done += 1
        return float(found.asnumpy())

    return step


def forward(config: RunConfig, batch: int) -> Callable[[], Any]:
    """A function that runs the same ``batch`` random images and waits for the logits."""
    set_device(ms, config)
    network = build_network(config)
    load_weights(network, first_weights(config))
    size = config.model.img_size
    normalize = Normalize(config.data.mean, config.data.std)
    images = normalize(Tensor(np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)))

    def answer() -> Any:
        logits = network(images)
        return (logits[0] if isinstance(logits, tuple) else logits).asnumpy()

    return answer
