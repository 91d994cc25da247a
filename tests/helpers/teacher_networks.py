"""Teachers as networks, and as MINDIR files."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
from mindspore import Tensor, nn
from teachers import drawn

from deit.config.schema import ModelConfig, RunConfig
from deit.engine.network import build_network
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights


def teacher_network(config: RunConfig, model: ModelConfig, seed: int = 3) -> nn.Cell:
    network = build_network(config, model=model)
    load_weights(network, drawn(parameter_shapes(model, 10), seed))
    return network


def exported(network: nn.Cell, path: Path, batch: int | None, size: int = 16) -> Path:
    ms.export(network, Tensor(shape=[batch, 3, size, size], dtype=ms.float32), file_name=str(path), file_format="MINDIR")
    return path.with_suffix(".mindir")
