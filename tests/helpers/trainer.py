"""A training of a tiny model, step by step."""

from __future__ import annotations

import dataclasses

import mindspore as ms
import numpy as np
from composition import composed
from mindspore import Tensor, ops

from deit.config.schema import RunConfig
from deit.engine.loss import SoftTargetCrossEntropy
from deit.engine.state import TrainState
from deit.engine.step import TrainStep
from deit.engine.step_inputs import BatchInputs, StepInputs
from deit.recipe.ema_decay import decay_at

TINY = (
    "experiment=quickstart",
    "model.img_size=16",
    "model.embed_dim=16",
    "model.depth=1",
    "model.num_heads=2",
    "data.batch_size=8",
)
PLAIN = (*TINY, "augment=none")


class Trainer:
    """State and steps of a tiny model, fed with plain arrays; ``flat`` as on Ascend."""

    def __init__(self, config: RunConfig, *, flat: bool = False) -> None:
        self.config, self.done = config, 0
        self.state = TrainState(config, flat=flat)
        loss = SoftTargetCrossEntropy()
        s = self.state
        self.cells = {
            update: TrainStep(config, s.network, s.average, loss, s.optimizer, s.loss_scale, s.buffers, 1, update, s.flat)
            for update in (False, True)
            if update or config.optim.accumulation_steps > 1
        }
        self._start = self.state.parts()

    def restart(self) -> None:
        """As it was built, with the steps that it has compiled."""
        self.state.load(self._start)
        for buffer in self.state.buffers or ():
            ops.assign(buffer, ops.zeros_like(buffer))
        self.done = 0

    def step(self, images: np.ndarray, labels: np.ndarray, lr: float = 1e-3) -> tuple[float, float, bool, float]:
        passes = self.config.optim.accumulation_steps
        losses = []
        for i, (x, y) in enumerate(zip(np.split(images, passes), np.split(labels, passes), strict=True)):
            last = i == passes - 1
            first, rate = Tensor(i == 0), Tensor(lr, ms.float32)
            inputs = StepInputs(*BatchInputs(Tensor(x), Tensor(y)), drop_path=None, dropout_key=None, first=first, lr=rate)
            if self.config.ema.warmup:
                share = Tensor(1 - decay_at(self.config.ema, self.done), ms.float32)
                inputs = inputs._replace(average_share=share)
            loss, norm, finite, scale = self.cells[last](*inputs)
            losses.append(float(loss.asnumpy()))
        self.done += 1
        return float(np.mean(losses)), float(norm.asnumpy()), bool(finite.asnumpy()), float(scale.asnumpy())


_TRAINERS: dict[str, Trainer] = {}  # kept until the end: MindSpore's graphs of a deleted cell may be those of another, too


def trainer_of(*overrides: str, flat: bool = False, freeze: str = "none") -> Trainer:
    """A trainer at its start, of the recipe ``PLAIN``; tests that ask for the same one share its compiled steps."""
    config = composed(*PLAIN, *overrides)
    # A command may freeze only what is pretrained.
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, freeze=freeze))
    key = f"{config} {flat}"
    if key in _TRAINERS:
        _TRAINERS[key].restart()
    else:
        _TRAINERS[key] = Trainer(config, flat=flat)
    return _TRAINERS[key]


def batch(seed: int, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 16, 16, 3)).astype(np.uint8), rng.integers(0, 10, count).astype(np.int32)
