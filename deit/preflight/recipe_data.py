"""The data of a configuration: opened, checked and counted before the start."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deit.compose import rules
from deit.config.addresses import is_remote
from deit.config.schema import RunConfig
from deit.data.datasets import check_images, open_dataset
from deit.data.source import aligned
from deit.errors import UserError
from deit.preflight.trained_weights import files_to_load
from deit.recipe import plan
from deit.storage.data_cache import stage
from deit.weights.read import names_of
from deit.weights.whole import recipe_of

_seen: dict[str, tuple[int, int]] = {}  # (classes, training images) of data already checked by this process


def with_data(config: RunConfig, *, trains: bool) -> RunConfig:
    """Open the data, decode a sample, and count the classes, once for all trials of a sweep.

    ``trains``: also check the training images, which must be enough for a step.
    """
    data = config.data
    if data.root is not None and is_remote(data.root):
        stage(data)
    elif data.root is not None:
        data = dataclasses.replace(data, root=str(Path(data.root).resolve()))
    key = repr((data, trains))
    if key not in _seen:
        validation = open_dataset(data, train=False)
        check_images(validation, data.on_bad_image)
        training = open_dataset(data, train=True) if trains else None
        if training is not None:
            check_images(training, data.on_bad_image)
        _seen[key] = (len(validation.classes), 0 if training is None else len(training))
    classes, images = _seen[key]
    if trains and plan.steps_per_epoch(config, images) == 0:
        raise UserError(rules.too_few_images(config, images))
    return dataclasses.replace(config, data=dataclasses.replace(data, num_classes=classes))


def with_data_of_recipe(config: RunConfig, *, trains: bool = False, which: str | None = None) -> RunConfig:
    """``with_data``, with a hint about the recipe in errors if ``checkpoint`` is in a run.

    ``which`` checkpoint of ``run``: its class names are compared with those of the data.
    """
    try:
        if which is not None:
            _check_classes(config, which)
        return with_data(config, trains=trains)
    except UserError as error:
        recipe = recipe_of(Path(config.checkpoint).resolve()) if config.checkpoint is not None else []
        raise UserError(" ".join([str(error), *(f"{text}." for text in recipe)]), exit_code=error.exit_code) from None


def _check_classes(config: RunConfig, which: str) -> None:
    key, files = files_to_load(config, which)
    known = names_of(next(iter(files.values())))
    if known is not None:
        found = open_dataset(dataclasses.replace(config.data, num_classes=None), train=False)
        aligned(found, known, f"{key}={getattr(config, key)}")
