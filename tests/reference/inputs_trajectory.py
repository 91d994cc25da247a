"""What both sides train on: weights, batches, mixing, masks of stochastic depth, learning rates. Nothing else is random."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from deit.config.schema import ModelConfig
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_shapes
from deit.randomness import generator
from deit.weights.naming import to_timm

CLASSES = 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMOOTHING, WEIGHT_DECAY, BETAS, EPS, EMA_DECAY = 0.1, 0.05, (0.9, 0.999), 1e-8, 0.99
DROP_PATH = 0.1
SAMPLE = 128  # entries kept of each parameter


@dataclass(frozen=True)
class Training:
    """A network and how long it is trained; ``lr`` is the peak, after ``warmup`` steps."""

    model: ModelConfig
    batch: int
    steps: int
    lr: float
    warmup: int
    clip: float
    optimizer: str = "adamw"  # or lamb
    loss: str = "cross_entropy"  # or bce, whose targets are not smoothed

    @property
    def smoothing(self) -> float:
        return SMOOTHING if self.loss == "cross_entropy" else 0.0


def _model(name: str, size: int, patch: int, width: int, depth: int, heads: int) -> ModelConfig:
    return ModelConfig(name, size, patch, width, depth, heads, 4.0, False, 0.0, DROP_PATH, "plain")


def _deit3(model: ModelConfig) -> ModelConfig:
    return dataclasses.replace(model, drop_path_mode="uniform", init_values=1e-4, no_embed_class=True)


TRAININGS = {
    "deit_micro": Training(_model("deit_micro", 32, 8, 128, 2, 4), batch=16, steps=200, lr=1e-3, warmup=20, clip=1.0),
    "deit3_micro": Training(
        _deit3(_model("deit3_micro", 32, 8, 128, 2, 4)),
        batch=16,
        steps=200,
        lr=4e-3,
        warmup=20,
        clip=1.0,
        optimizer="lamb",
        loss="bce",
    ),
    "deit_tiny": Training(_model("deit_tiny", 224, 16, 192, 12, 3), batch=4, steps=20, lr=5e-4, warmup=5, clip=5.0),
}


@dataclass
class Batch:
    """A step's input. ``blend``, ``box`` and ``lam`` are those of ``deit.engine.mixing.Mix``, one for the whole batch."""

    images: np.ndarray  # uint8 [B, H, W, 3]
    labels: np.ndarray  # int32 [B]
    blend: float
    box: tuple[int, int, int, int]  # top, bottom, left, right
    lam: float
    drop_path: np.ndarray  # float32 [2 * depth, B]: 0 or 1 / keep


def start(training: Training) -> dict[str, np.ndarray]:
    """The first weights, under timm's names."""
    return to_timm(initial_weights(parameter_shapes(training.model, CLASSES), 0, training.model.init_values))


def batch(training: Training, step: int) -> Batch:
    """Images whose brightness and stripes tell the class, so that there is something to learn."""
    random, size = generator(0, f"reference:trajectory.{training.model.name}", step), training.model.img_size
    labels = random.integers(CLASSES, size=training.batch)
    stripes = np.sin(np.arange(size) * 2 * math.pi * (1 + labels[:, None]) / size)
    images = 128 + 60 * stripes[:, None, :, None] + 30 * random.standard_normal((training.batch, size, size, 3))
    blend, box, lam = 1.0, (0, 0, 0, 0), 1.0
    if step % 3 == 1:
        blend = lam = float(random.beta(0.8, 0.8))
    elif step % 3 == 2:
        top, left = (int(edge) for edge in random.integers(0, size // 2, 2))
        height, width = (int(side) for side in random.integers(1, size // 2, 2))
        box, lam = (top, top + height, left, left + width), 1 - height * width / size**2
    lowest = DROP_PATH if training.model.drop_path_mode == "uniform" else 0
    keep = 1 - np.linspace(lowest, DROP_PATH, training.model.depth, dtype=np.float32).repeat(2)[:, None]
    kept = random.random((2 * training.model.depth, training.batch)) < keep
    return Batch(
        np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int32), blend, box, lam, (kept / keep).astype(np.float32)
    )


def learning_rate(training: Training, step: int) -> float:
    """Linear warmup, then a cosine to zero."""
    if step < training.warmup:
        return training.lr * (step + 1) / training.warmup
    return training.lr * (1 + math.cos(math.pi * step / training.steps)) / 2


def sample(value: np.ndarray) -> np.ndarray:
    """Up to SAMPLE entries of a parameter, spread evenly."""
    flat = value.ravel()
    return flat[np.linspace(0, flat.size - 1, min(SAMPLE, flat.size)).astype(int)]


def moved(name: str) -> bool:
    """Whether a parameter's course says anything: the keys' bias does not change the attention, so its gradient is rounding
    noise, which AdamW scales up to whole steps. It is in qkv.bias.
    """
    return not name.endswith("qkv.bias")


def given(training: Training) -> list[np.ndarray]:
    """Enough of it for a checksum."""
    first, last = batch(training, 0), batch(training, training.steps - 1)
    return [*start(training).values(), first.images, last.images, last.labels, last.drop_path]
