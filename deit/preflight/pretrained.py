"""The weights that a training starts from: found, and compared with the model by their header."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deit.config.schema import RunConfig
from deit.data.datasets import open_dataset
from deit.errors import UserError
from deit.lookup.weight_files import find_weights
from deit.models.shapes import HEADS, parameter_shapes
from deit.preflight.label_order import warn_of_order
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.weights.fit import Fit, compare, other_classes
from deit.weights.read import grid_of, names_of, read_shapes
from deit.weights.whole import require_whole


def begins_pretrained(config: RunConfig) -> bool:
    """Whether the training starts from ``model.pretrained``: a run with a checkpoint resumes from that instead."""
    if config.model.pretrained is None:
        return False
    return config.resume is None or not checkpoint.complete(RunDirectory(config.resume))


def with_pretrained(config: RunConfig) -> RunConfig:
    """Find the file of ``model.pretrained``, and reject one with nothing for the model."""
    text = config.model.pretrained
    assert text is not None
    path = find_weights(text, "model.pretrained", config)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, pretrained=str(path)))
    fitting = pretrained_fit(config)
    require_whole(fitting, config)
    if names_of(path) is None and any(name.startswith(HEADS) for name in fitting.taken):
        warn_of_order(config.data, open_dataset(config.data, train=True).classes, f"model.pretrained={text}")
    return config


def pretrained_fit(config: RunConfig) -> Fit:
    """How the file of ``model.pretrained`` (resolved) fits the model, from its header alone."""
    assert config.model.pretrained is not None
    path = Path(config.model.pretrained)
    try:
        found, _ = read_shapes(path)
        known = names_of(path)
    except UserError as error:
        raise UserError(f"model.pretrained={error}") from None
    wanted = None if known is None else open_dataset(config.data, train=True).classes
    grids = (grid_of(path), config.model.grid)
    return compare(found, needed_shapes(config), other_classes=other_classes(known, wanted), grids=grids)


def needed_shapes(config: RunConfig) -> dict[str, tuple[int, ...]]:
    assert config.data.num_classes is not None  # set by the data check
    return parameter_shapes(config.model, config.data.num_classes)
