"""Recognise the network of a weight file: from its metadata, else from names and shapes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import Field, fields
from functools import partial
from typing import Any

from deit.config.field import MISSING
from deit.config.schema import ModelConfig
from deit.errors import UserError
from deit.models.regnet_shapes import RegNetY, is_regnet, read_regnet
from deit.models.shapes import Shape, axis_size, parameter_shapes
from deit.notes import note

INITIAL = 1e-4  # LayerScale's factors, replaced by the weights: facebookresearch/deit's models_v2.py
# Width of an attention head in every published DeiT, not visible in the shapes; the one exception by its embed_dim.
HEAD_WIDTH, OTHER_HEAD_WIDTH = 64, {1280: 80}  # DeiT III huge


def recognise(shapes: Mapping[str, Shape], metadata: Mapping[str, str], source: str) -> tuple[ModelConfig | RegNetY, int]:
    """The model and its number of classes.

    ``shapes`` are under MindSpore's names (a RegNetY's under timm's), ``metadata`` is the file's own. A DeiT describes itself
    in its metadata (checkpoints, files of ``task=convert``); without metadata it is taken for a published one. Raises
    UserError, naming ``source``, if the weights belong to no such network.
    """
    if is_regnet(shapes):
        regnet = read_regnet(shapes, source)
        return regnet, regnet.num_classes
    if "cls_token" not in shapes or "head.weight" not in shapes:
        raise UserError(
            f"{source}: its names are neither those of a DeiT nor of a RegNetY ({', '.join(sorted(shapes)[:3])}, ...); "
            "other networks can be given as MINDIR."
        )
    model, classes = _told(metadata, source) if "model" in metadata else _guessed(shapes, source)
    needed = parameter_shapes(model, classes)
    wrong = [name for name in {**needed, **shapes} if needed.get(name) != shapes.get(name)]
    if wrong:
        raise UserError(
            f"{source}: not a DeiT: {', '.join(wrong[:3])}{', ...' if len(wrong) > 3 else ''} "
            f"({len(wrong)}) do not fit the others."
        )
    return model, classes


def _told(metadata: Mapping[str, str], source: str) -> tuple[ModelConfig, int]:
    try:
        values, classes = json.loads(metadata["model"]), int(metadata["num_classes"])
        model = ModelConfig(**{field.name: values.get(field.name, _default(field)) for field in fields(ModelConfig)})
        parameter_shapes(model, classes)  # fails if a value is missing or not a number
        return model, classes
    except (ValueError, KeyError, AttributeError, TypeError, ZeroDivisionError):
        raise UserError(f"{source}: the description of the model in its metadata is damaged.") from None


def _default(field: Field[Any]) -> Any:
    return None if field.default == MISSING else field.default


def _guessed(shapes: Mapping[str, Shape], source: str) -> tuple[ModelConfig, int]:
    size = partial(axis_size, shapes)
    width, patch = size("cls_token", 2), size("patch_embed.proj.weight", 2)
    head_width = OTHER_HEAD_WIDTH.get(width, HEAD_WIDTH)
    if width == 0 or width % head_width:
        raise UserError(
            f"{source}: the file does not say how many attention heads its model has, and with a width of {width} it is not "
            f"a published DeiT, which have heads of width {head_width}. Give the run or checkpoint it comes from, or a file of "
            "task=convert."
        )
    note(
        f"{source}: the file does not say how many attention heads its model has; assuming {width // head_width} of width "
        f"{head_width}, as in the published DeiT of this width. If its model had others, convert it with their number "
        "first: task=convert checkpoint=FILE model.num_heads=N and the rest of its model."
    )
    distilled = "dist_token" in shapes
    blocks = {match[1] for name in shapes if (match := re.match(r"blocks\.(\d+)\.", name))}
    # Squares of patches and squares plus one or two are never equal, so the rows tell whether special tokens have theirs.
    rows = size("pos_embed", 1)
    no_embed_class = rows > 0 and math.isqrt(rows) ** 2 == rows
    side = math.isqrt(max(0, rows - (0 if no_embed_class else 1 + distilled)))
    model = ModelConfig(
        name="deit",
        img_size=side * patch,
        patch_size=max(1, patch),
        embed_dim=width,
        depth=len(blocks),
        num_heads=width // head_width,
        mlp_ratio=size("blocks.0.mlp.fc1.weight", 0) / width,
        distilled=distilled,
        drop_rate=0.0,
        drop_path_rate=0.0,
        attention="auto",
        pretrained=None,
        init_values=INITIAL if "blocks.0.ls1.gamma" in shapes else None,
        no_embed_class=no_embed_class,
        in_chans=size("patch_embed.proj.weight", 1),
    )
    return model, size("head.weight", 0)
