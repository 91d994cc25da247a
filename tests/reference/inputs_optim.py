"""Learning-rate schedules, and a sequence of gradients, that both sides work through."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deit.randomness import generator

# ------------------------------------------------------------------------------------------ learning rate


@dataclass(frozen=True)
class Course:
    """A cosine schedule in numbers, as RECIPE and papers give them; ``images``: of one optimizer step, on all cards."""

    base_lr: float
    images: int
    epochs: int
    cooldown: int
    warmup: int
    warmup_lr: float
    min_lr: float
    granularity: str = "epoch"
    steps_per_epoch: int = 7


COURSES = {
    "seed": Course(5e-4, 1024, 300, 10, 5, 1e-6, 1e-6),
    "paper": Course(5e-4, 1024, 300, 0, 5, 1e-6, 1e-5),
    "paper, per step": Course(5e-4, 1024, 300, 0, 5, 1e-6, 1e-5, "step"),
    "cooldown, per step": Course(1e-3, 256, 20, 4, 3, 1e-5, 2e-6, "step"),
    "no warmup": Course(1e-3, 512, 30, 2, 0, 1e-6, 1e-5),
    "no warmup, per step": Course(1e-3, 512, 30, 2, 0, 1e-6, 1e-5, "step"),
    "warmup to the end": Course(2e-3, 96, 6, 3, 6, 1e-6, 1e-5),
}


# ----------------------------------------------------------------------------------------------- groups

# timm's name of variants with different parameters, and the option of conf/model/ that is to be the same.
LAYERED = {
    "deit_small_patch16_224": "deit_small",
    "deit_small_distilled_patch16_224": "deit_small_distilled",
    "deit3_small_patch16_224": "deit3_small",
}
LAYER_DECAY = 0.65


# ------------------------------------------------------------------------------------------- optimization


@dataclass(frozen=True)
class Training:
    """How the weights of ``start()`` are trained with the gradients of ``gradients()``."""

    optimizer: str  # adamw | lamb | sgd
    weight_decay: float
    lr: float
    nesterov: bool = False
    clip: float | None = None
    scaled: bool = False  # dynamic loss scale, and gradients that overflow


TRAININGS = {
    "adamw": Training("adamw", 0.05, 1e-3),  # the peak of the paper
    "adamw_scaled": Training("adamw", 0.05, 1e-3, clip=1.0, scaled=True),
    "lamb": Training("lamb", 0.05, 3e-3, clip=1.0),
    "lamb_without_decay": Training("lamb", 0.0, 3e-3, clip=1.0),
    "sgd": Training("sgd", 1e-2, 5e-3),
    "sgd_nesterov": Training("sgd", 1e-2, 5e-3, nesterov=True),
    "sgd_clipped": Training("sgd", 1e-2, 0.1, clip=1.0),
}
STEPS = 60
SHAPES = {"head.weight": (6, 12), "head.bias": (6,)}  # the matrix is decayed, the bias is not
BETAS, EPS, MOMENTUM, EMA_DECAY = (0.9, 0.999), 1e-8, 0.9, 0.99
SCALE, WINDOW = 65536.0, 5
OVERFLOWS = {7: np.inf, 23: 1e36, 24: 1e36, 41: np.nan, 50: np.inf}  # 1e36 overflows when it is scaled


def start() -> dict[str, np.ndarray]:
    """Weights of a trained network's size: at 1 and above float32's own rounding over the steps comes near the tolerance."""
    size = np.float32(0.2)
    return {name: size * generator(0, f"reference:{name}").standard_normal(shape, np.float32) for name, shape in SHAPES.items()}


def gradients(training: Training, step: int) -> dict[str, np.ndarray]:
    """Of sizes over four orders of magnitude; norms on both sides of the clip."""
    random = generator(0, "reference:gradients", step)
    found = {name: random.standard_normal(shape, np.float32) for name, shape in SHAPES.items()}
    size = np.float32(10.0 ** (step % 5 - 3))
    found = {name: size * gradient for name, gradient in found.items()}
    if training.scaled and step in OVERFLOWS:
        found["head.weight"][1, 2] = OVERFLOWS[step]
    return found


def learning_rate(training: Training, step: int) -> float:
    """A rate that moves with each step."""
    return float(np.float32(training.lr * (1 + math.cos(step / 20)) / 2))
