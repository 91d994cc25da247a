"""Find the teacher of a distillation and check it by its header, before the start."""

from __future__ import annotations

import dataclasses

from deit.config.schema import DistillConfig, ModelConfig, RunConfig
from deit.errors import UserError
from deit.lookup.weight_files import find_weights
from deit.models.recognise import recognise
from deit.preflight.unchecked import unchecked
from deit.weights.find import MINDIR
from deit.weights.naming import to_mindspore
from deit.weights.read import read_shapes


def resolve_teacher(config: RunConfig) -> DistillConfig:
    """``distill.teacher`` as the absolute path of a weight file or a MINDIR that fits the student's images and classes.

    A MINDIR is checked by the worker, because reading it needs MindSpore. Raises UserError.
    """
    text = config.distill.teacher
    assert text is not None
    source = f"distill.teacher={text}"
    path = find_weights(text, "distill.teacher", config)
    if path.suffix == MINDIR:
        unchecked(f"{source}: the size of its images and its number of classes, which the worker finds out")
    else:
        try:
            shapes, metadata = read_shapes(path)
        except UserError as error:
            raise UserError(f"{source}: {error}") from None
        model, classes = recognise(to_mindspore(shapes), metadata, source)
        compared = [("data.num_classes", classes, config.data.num_classes)]
        if isinstance(model, ModelConfig):  # a RegNetY is convolutional and accepts any size
            compared.append(("model.img_size", model.img_size, config.model.img_size))
        for key, found, needed in compared:
            if found != needed:
                raise UserError(f"{source}: the teacher has {key}={found}, the student {needed}. They must be equal.")
    return dataclasses.replace(config.distill, teacher=str(path))
