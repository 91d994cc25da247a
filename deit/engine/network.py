"""Build a network for a device: precision and attention as configured."""

from __future__ import annotations

from mindspore import nn

from deit.config.schema import ModelConfig, RunConfig
from deit.models.deit import build_model
from deit.models.precision import compute_types


def build_network(config: RunConfig, prefix: str = "", model: ModelConfig | None = None) -> nn.Cell:
    """The network of ``config`` (or another ``model`` in its place), all zero; parameter names get ``prefix``."""
    assert config.data.num_classes is not None  # the launcher has counted the classes
    model = model or config.model
    half_on_ascend = config.hardware.target == "ascend" and config.precision.level != "O0"
    flash = model.attention == "flash" or (model.attention == "auto" and half_on_ascend)
    network = build_model(model, config.data.num_classes, types=compute_types(config.precision), flash=flash)
    if prefix:
        network.update_parameters_name(prefix)
    return network
