"""Which parameters a training changes: ``model.freeze``. A function of their names, so that both sides use it."""

from __future__ import annotations

import math
import re

from deit.config.schema import ModelConfig
from deit.models.shapes import HEADS, parameter_shapes

_BLOCK = re.compile(r"blocks\.(\d+)\.")
_LAST_NORM = "norm."


def blocks_to_freeze(freeze: str) -> int | None:
    """The number of a ``model.freeze`` that is one, None for the others."""
    return int(freeze) if freeze.isascii() and freeze.isdigit() else None


def is_trained(name: str, freeze: str) -> bool:
    """Whether a training changes the parameter ``name`` (``deit.models.shapes``) with this ``model.freeze``.

    ``all_but_head`` trains the heads alone, a linear probe. ``all_but_attention`` trains queries, keys, values and projections
    of all blocks, the position embedding and the heads ("Three things everyone should know about vision transformers",
    section 4, as facebookresearch/deit's ``--attn-only``). A number freezes the embeddings and as many first blocks.
    """
    if freeze == "none" or name.startswith(HEADS):
        return True
    if freeze == "all_but_head":
        return False
    if freeze == "all_but_attention":
        return ".attn." in name or name == "pos_embed"
    first = blocks_to_freeze(freeze)
    assert first is not None  # deit.compose.rules.freeze
    block = _BLOCK.match(name)
    return int(block[1]) >= first if block else name.startswith(_LAST_NORM)


def trained_count(model: ModelConfig, num_classes: int) -> int:
    """Number of scalars that a training changes."""
    shapes = parameter_shapes(model, num_classes)
    return sum(math.prod(shape) for name, shape in shapes.items() if is_trained(name, model.freeze))
