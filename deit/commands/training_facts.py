"""What the automatic values of a configuration depend on: the images that are here, the device, the model."""

from __future__ import annotations

import dataclasses

from deit.config.schema import DataConfig, RunConfig
from deit.data.datasets import open_dataset
from deit.errors import UserError
from deit.machine import cards
from deit.models.shapes import gmacs
from deit.preflight.recipe_data import bring
from deit.recipe.data_defaults import Facts
from deit.recipe.plan import ranks
from deit.weights.official import of_model

TRAINING = ("train", "preview")  # the tasks that use training images
_counted: dict[str, int] = {}  # by the data: once for all trials of a sweep


def facts(config: RunConfig) -> Facts:
    """The facts for ``config``, whose training images are counted if its task uses them.

    Data in a store are copied to this machine first, unless this is a dry run. Images that cannot be counted are reported when
    the task checks its data.
    """
    return Facts(
        images=_images(config) if config.task.name in TRAINING else None,
        device=cards.resolve(dataclasses.replace(config.hardware, nodes=1)).target,
        ranks=ranks(config),
        gmacs=gmacs(config.model, config.data.num_classes or 2),
        variant=config.model.name,
        width=config.model.embed_dim,
        official=None if (entry := of_model(config.model.name)) is None else entry.name,
    )


def _images(config: RunConfig) -> int | None:
    try:
        return _count(config.data) if bring(config) else config.data.train_size
    except UserError:
        return None


def _count(data: DataConfig) -> int:
    data = dataclasses.replace(data, batch_size=1, eval_batch_size=1, workers=None)  # which the images do not depend on
    key = repr(data)
    if key not in _counted:
        _counted[key] = len(open_dataset(data, train=True))
    return _counted[key]
