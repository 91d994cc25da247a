"""The data of a configuration: opened, checked and counted before the start."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from deit.config.addresses import COMPLETE, data_copy, is_remote
from deit.config.schema import RunConfig
from deit.data.datasets import check_images, open_dataset
from deit.errors import UserError
from deit.notes import note
from deit.preflight.label_order import warn_of_order
from deit.preflight.unchecked import unchecked
from deit.recipe import plan
from deit.storage.data_cache import stage
from deit.storage.open import open_store
from deit.weights.read import names_of
from deit.weights.whole import recipe_of

Weights = tuple[str, Mapping[str, Path]]  # the key that names them, and their files


def bring(config: RunConfig) -> bool:
    """Copy a remote ``data.root`` to this machine; returns whether the data is here. A dry run copies nothing, and notes that.

    Raises UserError as ``data_cache.stage`` does.
    """
    root = config.data.root
    if root is None or not is_remote(root):
        return True
    if not config.dry_run:
        stage(config.data)
        return True
    store = open_store(root, "data.root")
    if not store.folders(root):
        store.objects(root)  # raises if there is nothing
    if (data_copy(root, config.data.cache_dir).parent / COMPLETE).is_file():
        return True
    unchecked(f"data.root={root}: its images and classes, and what must fit them: a start copies it to this machine first")
    return False


_seen: dict[str, tuple[int, int]] = {}  # (classes, training images) of data already checked by this process


def with_data(config: RunConfig, *, trains: bool, weights: Weights | None = None) -> RunConfig:
    """Open the data, decode a sample, and count the classes, once for all trials of a sweep.

    ``trains``: also check the training images, which must be enough for a step. The class names of ``weights``, if known, are
    compared with those of the data.
    """
    if not bring(config):
        return config
    data = dataclasses.replace(config.data)
    for key in ("root", "class_map", "labels", "split_file"):
        path = getattr(data, key)
        if path is not None and not is_remote(path):  # the worker has another working directory
            setattr(data, key, str(Path(path).resolve()))
    if data.root is None and data.labels is not None:
        data.root = str(Path(data.labels).parent)  # where its paths begin
    known = None if weights is None else names_of(next(iter(weights[1].values())))
    given = repr((data, trains, known))
    if given not in _seen:
        source = "" if weights is None else f"{weights[0]}={getattr(config, weights[0])}"
        validation = open_dataset(data, train=False, trained_on=(known, source))
        check_images(validation, data.on_bad_image)
        if weights is not None and known is None:
            warn_of_order(data, validation.classes, source)
        training = open_dataset(data, train=True) if trains else None
        if training is not None:
            check_images(training, data.on_bad_image)
        _seen[given] = (len(validation.classes), 0 if training is None else len(training))
    classes, images = _seen[given]
    if trains and images < plan.ranks(config) * config.optim.accumulation_steps:
        raise UserError(
            f"A{_step(config)[1:]}, but there are {images:,} training images, not one for each pass of each process."
        )
    if trains and images < plan.global_batch(config):
        note(
            f"{_step(config)}, but there are {images:,} training images: an epoch is one step, which uses some images more "
            "than once. A smaller data.batch_size makes more steps."
        )
    data.num_classes = classes
    return dataclasses.replace(config, data=data)


def _step(config: RunConfig) -> str:
    cards = f"hardware.cards={config.hardware.cards} x hardware.nodes={config.hardware.nodes}"
    if config.task.shown_ranks is not None:
        cards = f"task.ranks={config.task.shown_ranks}"
    factors = f"data.batch_size={config.data.batch_size} x {cards} x optim.accumulation_steps={config.optim.accumulation_steps}"
    return f"a step takes {plan.global_batch(config):,} images ({factors})"


def with_data_of_recipe(config: RunConfig, *, trains: bool = False, weights: Weights | None = None) -> RunConfig:
    """``with_data``, with a hint about the recipe in errors if ``checkpoint`` is in a run."""
    try:
        return with_data(config, trains=trains, weights=weights)
    except UserError as error:
        recipe = recipe_of(Path(config.checkpoint).resolve()) if config.checkpoint is not None else []
        raise UserError(" ".join([str(error), *(f"{text}." for text in recipe)]), exit_code=error.exit_code) from None
