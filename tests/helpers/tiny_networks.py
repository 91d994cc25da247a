"""Networks of 8 x 8 pixels and two blocks, with weights that show each parameter in the output."""

from __future__ import annotations

import dataclasses

import numpy as np

from deit.config.schema import ModelConfig
from deit.models.deit import DeiT, build_model
from deit.models.initialisation import initial_weights
from deit.models.precision import FLOAT32, ComputeTypes
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights

CLASSES = 5
TINY = ModelConfig("test", 8, 4, 16, 2, 2, 4.0, False, 0.0, 0.0, "plain")
DISTILLED = dataclasses.replace(TINY, distilled=True)


def lively_weights(config: ModelConfig) -> dict[str, np.ndarray]:
    """Weights with nothing zero or one in them, so that each parameter shows in the output."""
    random = np.random.default_rng(1)
    weights = initial_weights(parameter_shapes(config, CLASSES), 0, config.init_values)
    return {name: w + 0.3 * random.standard_normal(w.shape, np.float32) for name, w in weights.items()}


def images(batch: int = 3) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((batch, 3, 8, 8), np.float32)


def loaded(config: ModelConfig, types: ComputeTypes = FLOAT32) -> DeiT:
    network = build_model(config, CLASSES, types=types)
    load_weights(network, lively_weights(config))
    return network
