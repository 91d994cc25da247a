"""Initial weights: distributions of timm, functions of seed and name."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import yaml

from deit.config.schema import ModelConfig
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_shapes

CONF = Path(__file__).parents[3] / "conf" / "model"
CLASSES = 5
TINY = ModelConfig("test", 8, 4, 16, 2, 2, 4.0, False, 0.0, 0.0, "plain")
DISTILLED = dataclasses.replace(TINY, distilled=True)
DEIT3 = dataclasses.replace(TINY, init_values=0.1, no_embed_class=True)


def model(name: str) -> ModelConfig:
    return ModelConfig(**yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8")))


def test_initial_weights_equal_timm() -> None:
    shapes = parameter_shapes(model("deit_tiny_distilled"), 1000)
    weights = initial_weights(shapes, seed=3)
    assert {name: w.shape for name, w in weights.items()} == shapes
    assert {w.dtype for w in weights.values()} == {np.dtype(np.float32)}
    for name, w in weights.items():
        if name.startswith("patch_embed.proj"):
            bound = 1 / math.sqrt(3 * 16 * 16)
            assert bound * 0.97 < np.abs(w).max() <= bound
            assert abs(w.std() / (bound / math.sqrt(3)) - 1) < 4 / math.sqrt(2 * w.size)
        elif name.endswith(".gamma"):
            assert (w == 1).all()
        elif name.endswith((".beta", ".bias")):
            assert (w == 0).all()
        else:
            assert abs(w.std() / 0.02 - 1) < 4 / math.sqrt(2 * w.size), name
            assert abs(w.mean()) < 4 * 0.02 / math.sqrt(w.size), name


def test_layer_scale_starts_with_its_initial_value() -> None:
    weights = initial_weights(parameter_shapes(DEIT3, CLASSES), 0, DEIT3.init_values)
    factors = {name: value for name, value in weights.items() if ".ls" in name}
    assert len(factors) == 2 * DEIT3.depth and all((value == np.float32(0.1)).all() for value in factors.values())
    assert (weights["blocks.0.norm1.gamma"] == 1).all()


def test_initial_weights_are_a_function_of_seed_and_name() -> None:
    ten, twenty = parameter_shapes(TINY, 10), parameter_shapes(TINY, 20)
    first, other_head, other_seed = initial_weights(ten, 0), initial_weights(twenty, 0), initial_weights(ten, 1)
    for name, w in first.items():
        if not name.startswith("head"):
            np.testing.assert_array_equal(w, other_head[name])
    assert not np.array_equal(first["pos_embed"], other_seed["pos_embed"])
    matrices = [first[f"blocks.{i}.mlp.fc1.weight"] for i in range(2)]
    assert abs(np.corrcoef(matrices[0].ravel(), matrices[1].ravel())[0, 1]) < 0.15
