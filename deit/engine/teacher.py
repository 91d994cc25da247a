"""The loss of a configuration, with its teacher where it distills."""

from __future__ import annotations

from pathlib import Path

from mindspore import nn

from deit.config.schema import ModelConfig, RunConfig
from deit.engine.loss import DistillationLoss, SoftTargetCrossEntropy
from deit.engine.network import build_network
from deit.models.weights import load_weights
from deit.runs import checkpoint


def build_loss(config: RunConfig) -> nn.Cell:
    """The training loss. ``distill.teacher`` is a checkpoint folder here; the launcher has resolved a run to it."""
    if config.distill.type == "none":
        return SoftTargetCrossEntropy()
    assert config.distill.teacher is not None
    path = Path(config.distill.teacher)
    model = ModelConfig(**checkpoint.read_state(path)["model"])
    network = build_network(config, prefix="teacher.", model=model)
    part = "ema" if "ema.safetensors" in checkpoint.read_state(path)["files"] else "model"
    load_weights(network, checkpoint.read_part(path, part), prefix="teacher.", source=f"distill.teacher={path}")
    return DistillationLoss(network, config.distill.type, config.distill.alpha, config.distill.tau)
