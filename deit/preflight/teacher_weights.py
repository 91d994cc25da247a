"""Find the teacher of a distillation and check it by its header, before the start."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deit.config.schema import DistillConfig, ModelConfig, RunConfig, size_text
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
from deit.weights.find import MINDIR
from deit.weights.naming import to_mindspore
from deit.weights.read import names_of, read_shapes


def resolve_teacher(config: RunConfig) -> DistillConfig:
    """``distill.teacher`` as the absolute path of a weight file or a MINDIR that fits the student's images and classes.

    A MINDIR without the model.json of its export is checked by the worker: reading it needs MindSpore. Raises UserError.
    """
    text = config.distill.teacher
    assert text is not None
    source = f"distill.teacher={text}"
    path = find_weights(text, "distill.teacher", config)
    if path.suffix == MINDIR and not (path.parent / description.FILE).is_file():
        unchecked(f"{source}: the size of its images and its classes, which the worker finds out")
    else:
        model, classes = _described(path, source)
        channels = model.in_chans if isinstance(model, ModelConfig) else 3
        compared: list[tuple[str, object, object]] = [
            ("data.num_classes", classes, config.data.num_classes),
            ("model.in_chans", channels, config.model.in_chans),
        ]
        if isinstance(model, ModelConfig):  # a RegNetY is convolutional and accepts any size
            compared.append(("model.img_size", size_text(model.img_size), size_text(config.model.img_size)))
        for key, found, needed in compared:
            if found != needed:
                raise UserError(f"{source}: the teacher has {key}={found}, the student {needed}. They must be equal.")
        _compare_names(config, path, source)
    return dataclasses.replace(config.distill, teacher=str(path))


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
