"""Find the teacher of a distillation and check it by its header, before the start."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from deit.config import frozen
from deit.config.schema import DistillConfig, ModelConfig, RunConfig, sides, size_text
from deit.data.datasets import open_dataset
from deit.errors import UserError
from deit.exports import description
from deit.inference.model_source import teacher_order
from deit.lookup.weight_files import find_weights
from deit.models.recognise import recognise
from deit.models.regnet_shapes import RegNetY
from deit.notes import note
from deit.preflight.label_order import warn_of_order
from deit.preflight.unchecked import unchecked
from deit.runs.checkpoint import run_of_checkpoint
from deit.weights import official
from deit.weights.find import MINDIR
from deit.weights.naming import to_mindspore
from deit.weights.read import names_of, read_shapes


def resolve_teacher(config: RunConfig) -> DistillConfig:
    """``distill.teacher`` as the absolute path of a weight file or a MINDIR that fits the student's classes, with the size,
    mean and deviation of its images.

    A MINDIR without the model.json of its export is checked by the worker: reading it needs MindSpore. Raises UserError.
    """
    text = config.distill.teacher
    assert text is not None
    source = f"distill.teacher={text}"
    path = find_weights(text, "distill.teacher", config)
    if path.suffix == MINDIR and not (path.parent / description.FILE).is_file():
        unchecked(f"{source}: the size of its images and its classes, which the worker finds out")
        channels, size = len(config.distill.mean or config.data.mean), None
    else:
        model, classes = _described(path, source)
        if classes != config.data.num_classes:
            needed = config.data.num_classes
            raise UserError(f"{source}: the teacher has data.num_classes={classes}, the student {needed}. They must be equal.")
        # A RegNetY is convolutional and accepts any size.
        channels, size = (model.in_chans, model.img_size) if isinstance(model, ModelConfig) else (3, None)
        _compare_names(config, path, source)
    return dataclasses.replace(_with_own_images(config, path, source, channels, size), teacher=str(path))


def _with_own_images(config: RunConfig, path: Path, source: str, channels: int, size: Any) -> DistillConfig:
    """The typed size, mean and deviation of the teacher's images, else its own; None for those of the student.

    ``channels`` are its own; so is ``size``, None for any. Raises UserError if they contradict what is typed.
    """
    distill = config.distill
    typed, own = distill.img_size, size if size is not None else distill.img_size
    if size is not None and typed is not None and sides(typed) != sides(size):
        raise UserError(
            f"distill.img_size is {size_text(typed)}, but the teacher of {source} takes images of {size_text(size)} "
            f"pixels; give distill.img_size={size}, or null."
        )
    older = config.resume is not None and distill.mean is None  # a run from before these keys continues as it began
    mean, std = (None, None) if older else _normalisation(path, source)
    mean, std = distill.mean or mean, distill.std or std
    for key, values in (("mean", mean or config.data.mean), ("std", std or config.data.std)):
        if len(values) != channels:
            raise UserError(
                f"{source}: the teacher takes images of {channels} channel{'' if channels == 1 else 's'}, but distill.{key} "
                f"has {len(values)} values; give distill.mean and distill.std of its training."
            )
    return dataclasses.replace(distill, img_size=own, mean=mean or config.data.mean, std=std or config.data.std)


def _normalisation(path: Path, source: str) -> tuple[list[float] | None, list[float] | None]:
    """Mean and deviation of the images of a teacher's training; None if nothing says so."""
    if path.suffix == MINDIR:
        if not (path.parent / description.FILE).is_file():
            return None, None
        found = description.read(path.parent, source).preprocessing
        return found.mean, found.std
    run = run_of_checkpoint(path)
    if run is not None:
        data = frozen.load(run.config).data
        return data.mean, data.std
    return ([*official.MEAN], [*official.STD]) if path.name in official.BY_FILE else (None, None)


def _compare_names(config: RunConfig, path: Path, source: str) -> None:
    """Compare the class names of a teacher with the data, as far as they are known. Raises UserError."""
    classes = open_dataset(config.data, train=True).classes
    if path.suffix != MINDIR and names_of(path) is None:
        warn_of_order(config.data, classes, source)
    elif teacher_order(path, source, classes) is not None:
        note(f"{source}: has the classes in another order than the data; its answers are reordered by name.")


def _described(path: Path, source: str) -> tuple[ModelConfig | RegNetY, int]:
    """The network of a teacher and its number of classes. Raises UserError."""
    if path.suffix == MINDIR:
        exported = description.read(path.parent, source)
        return exported.model, exported.num_classes
    try:
        shapes, metadata = read_shapes(path)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    return recognise(to_mindspore(shapes), metadata, source)
