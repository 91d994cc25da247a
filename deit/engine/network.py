"""Build a network for a device: with the configured precision and attention."""

from __future__ import annotations

import dataclasses

import mindspore as ms
from mindspore import Tensor, nn

from deit.config import card_rules
from deit.config.schema import ModelConfig, RunConfig
from deit.engine import device
from deit.engine.loss import mean_of_heads
from deit.engine.normalize import Normalize
from deit.errors import UserError
from deit.models.deit import build_model
from deit.models.precision import compute_types


def build_network(config: RunConfig, prefix: str = "", model: ModelConfig | None = None, *, portable: bool = False) -> nn.Cell:
    """The network of ``config`` (or of ``model`` instead), all zero; parameter names get ``prefix``.

    A ``portable`` one has no operators that MindSpore knows only on Ascend, so that other programs can read its export.

    Raises UserError if the card of this process cannot compute it.
    """
    assert config.data.num_classes is not None  # the launcher has counted the classes
    model = model or config.model
    target, generation = config.hardware.target, device.generation()
    # An export has its own precision, for another device.
    if "precision" not in config.task.idle_groups and (
        refused := card_rules.network(model, config.precision, target, generation)
    ):
        raise UserError("\n".join(refused))
    types = compute_types(config.precision, target)
    if portable:
        types = dataclasses.replace(types, ascend=False)
    flash = card_rules.uses_flash(model, config.precision, target, generation)
    network = build_model(model, config.data.num_classes, types=types, flash=flash)
    if prefix:
        network.update_parameters_name(prefix)
    return network


class Answer(nn.Cell):
    """Images to logits float32 [B, K], the mean of both heads of a distilled model.

    With ``normalize`` the images are pixels, uint8 [B, H, W, C], otherwise normalised, float32 [B, C, H, W].
    """

    def __init__(self, network: nn.Cell, normalize: Normalize | None) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.normalize = network, normalize

    def construct(self, images: Tensor) -> Tensor:
        if self.normalize is not None:
            images = self.normalize(images)
        return mean_of_heads(self.network(images)).astype(ms.float32)
