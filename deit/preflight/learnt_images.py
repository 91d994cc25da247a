"""Warn of a model that is evaluated on images that it was trained on."""

from __future__ import annotations

from pathlib import Path

from deit.config import frozen
from deit.config.schema import DataConfig
from deit.data.listed import count_learnt
from deit.data.source import Dataset
from deit.notes import note
from deit.runs.directory import RunDirectory


def warn_of_learnt(model: str, run: RunDirectory, data: DataConfig, images: Dataset) -> None:
    """Say once if ``run``, that of ``model``, was trained on some of the ``images`` of ``data``, as with another fold."""
    if not run.split.is_file() or data.root is None:
        return
    root = frozen.load(run.config).data.root
    if root is None or Path(root).resolve() != Path(data.root).resolve():
        return
    count = count_learnt(run.split, images)
    if count:
        note(
            f"{model} was trained on {count:,} of the {len(images):,} images, so its accuracy is too high; compare runs of the "
            "same split."
        )
