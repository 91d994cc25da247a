"""Batches of images for a prediction, read as in an evaluation; unreadable ones are named and left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from deit.config.schema import RunConfig
from deit.data.loader import EvalLoader
from deit.errors import UserError
from deit.inference.images import Images, spelled
from deit.inference.labelled import FoundImages


@dataclass
class Batch:
    """``images`` uint8 [B, H, W, C], of which the first ``len(rows)`` are images and the rest zero.

    ``rows`` are their numbers in the input; ``unreadable`` has the reason for each missing number.
    """

    images: np.ndarray
    rows: list[int] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)


def batches(images: Images, config: RunConfig, batch: int) -> Iterator[Batch]:
    """All images in order, ``batch`` at a time."""
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, eval_batch_size=batch))
    loader = EvalLoader(config, FoundImages(images, config.data), 0, 1, leave_out=UserError)
    for read in loader:
        found = read.images
        if not read.valid[: read.valid.sum()].all():  # move the gaps to the end
            found = np.zeros_like(read.images)
            found[: read.valid.sum()] = read.images[read.valid]
        yield Batch(found, read.indices[read.valid].tolist(), {number: spelled(str(error)) for number, error in read.failed})
