"""Small students and teachers: recipes, and weight files of random networks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from composition import composed
from safetensors.numpy import save_file

from deit.config.schema import ModelConfig, RunConfig
from deit.models.regnet_shapes import Block, RegNetY, regnet_shapes
from deit.models.shapes import parameter_shapes
from deit.randomness import generator
from deit.weights.read import description

# Small enough for a second a step, with erasing and mixing, which the teacher must see too.
STUDENT = (
    "experiment=quickstart",
    "model.img_size=16",
    "model.embed_dim=16",
    "model.depth=1",
    "model.num_heads=2",
    "model.distilled=true",
    "augment.mixup_prob=1",
    "augment.reprob=1",
    "data.batch_size=8",
)
TINY_REGNET = RegNetY(
    stem_width=8,
    blocks=(
        Block("s1.b1", inputs=8, width=16, group_width=4, se_width=2),
        Block("s2.b1", inputs=16, width=24, group_width=8, se_width=4),
        Block("s2.b2", inputs=24, width=24, group_width=8, se_width=6),
    ),
    num_classes=10,
)


def drawn(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Weights with which a random network distinguishes images."""
    weights = {}
    for name, shape in shapes.items():
        values = generator(seed, f"test:{name}").standard_normal(shape, np.float32)
        if name.endswith(("gamma", "bn.weight")):
            values = 1 + 0.1 * values
        elif name.endswith("running_var"):
            values = np.exp(0.2 * values)
        elif len(shape) == 1:
            values = 0.1 * values
        else:
            values = values * np.float32(np.prod(shape[1:]) ** -0.5)
        weights[name] = values.astype(np.float32)
    return weights


def regnet_file(path: Path, regnet: RegNetY = TINY_REGNET) -> Path:
    counters = {f"{block.name}.conv1.bn.num_batches_tracked": np.array(7, np.int64) for block in regnet.blocks}
    save_file(drawn(regnet_shapes(regnet)) | counters, path)
    return path


def deit(**changes: Any) -> ModelConfig:
    return dataclasses.replace(composed(*STUDENT, "distill=hard", "distill.teacher=t").model, **changes)


def student(teacher: Path, *more: str) -> RunConfig:
    return composed(*STUDENT, "distill=soft", f"distill.teacher={teacher}", *more)


def named_teacher(file: Path, classes: list[str], size: int = 16) -> Path:
    model = deit(img_size=size, embed_dim=24, num_heads=1)
    save_file(drawn(parameter_shapes(model, 10)), file, description(dataclasses.asdict(model), 10, "mindspore", classes))
    return file
