"""The teacher of a distillation: a frozen network that sees the same images as the student, in its own size and normalisation.

It is its own graph, not a part of the train step. So it is compiled once, whatever the number of micro steps; nothing in it can
be differentiated, averaged over ranks or saved; and an exported MINDIR, which cannot be part of a graph with gradients, works
like any other network. Each rank's teacher sees the images of its rank.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
from mindspore import Tensor, nn, ops

from deit.config.schema import RunConfig
from deit.engine.loss import mean_of_heads
from deit.engine.mindir import load_mindir
from deit.engine.network import build_network
from deit.engine.normalize import Inputs
from deit.engine.teacher_input import TeacherInput, teacher_size
from deit.errors import UserError
from deit.models.precision import compute_types
from deit.models.recognise import recognise
from deit.models.regnet import RegNet
from deit.models.regnet_shapes import RegNetY, folded
from deit.models.weights import load_weights
from deit.weights.find import MINDIR
from deit.weights.naming import to_mindspore
from deit.weights.read import read_shapes, read_weights


class OfStudentsImages(nn.Cell):
    """The teacher's logits from the student's images; ``order`` are the columns to take, if it counts the classes otherwise."""

    def __init__(self, config: RunConfig, network: nn.Cell, order: Sequence[int] | None) -> None:
        super().__init__(auto_prefix=False)
        self.input, self.network = TeacherInput(config), network
        self.order = None if order is None else Tensor(list(order), ms.int32)

    def construct(self, images):  # type: ignore[no-untyped-def]
        logits = mean_of_heads(self.network(self.input(images)))
        return logits if self.order is None else ops.gather(logits, self.order, 1)


class Teacher(nn.Cell):
    """The teacher's logits for a training batch. ``network`` maps normalised images to logits, or to a pair of them."""

    def __init__(self, config: RunConfig, network: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.inputs, self.network = Inputs(config), network

    def construct(self, images, labels, boxes, noise, blend, mix_box, lam):  # type: ignore[no-untyped-def]  # some are None
        """Logits float32 [B, K]; the arguments are ``BatchInputs``, as for the student, so the images are the same."""
        inputs, _ = self.inputs(images, labels, boxes, noise, blend, mix_box, lam)
        return mean_of_heads(self.network(inputs)).astype(ms.float32)


@dataclass(frozen=True)
class Teaching:
    """A teacher and its description."""

    teacher: Teacher
    network: nn.Cell  # the same network for another graph
    description: str
    sha256: str  # of its file: a resumed student must find the same teacher
    batch: int | None  # its batch size, None for any


def build_teaching(config: RunConfig, order: Sequence[int] | None = None) -> Teaching | None:
    """The teacher of a distillation, None without one. ``distill.teacher`` has been resolved to a file by the launcher.

    ``order``: where the teacher has each class of the data, if it counts them differently.
    Raises UserError if the file has changed since, or is a MINDIR that does not fit the data.
    """
    if config.distill.type == "none":
        return None
    assert config.distill.teacher is not None and config.data.num_classes is not None
    path, source = Path(config.distill.teacher), f"distill.teacher={config.distill.teacher}"
    batch, size, channels = None, teacher_size(config), len(config.distill.mean or config.data.mean)
    if path.suffix == MINDIR:
        exported = load_mindir(path, size, source, channels)
        network, batch, classes, description = exported.network, exported.batch, exported.num_classes, "MINDIR"
        # A loaded graph becomes part of the first graph that uses it and cannot be put into a second one.
        other = load_mindir(path, size, source, channels).network
    else:
        shapes, metadata = read_shapes(path)
        model, classes = recognise(to_mindspore(shapes), metadata, source)
        weights = read_weights(path)
        if isinstance(model, RegNetY):
            network = RegNet(model, compute_types(config.precision, config.hardware.target))
            weights, named = folded(weights, model), str(model)
        else:
            network = build_network(config, model=model)
            weights, named = to_mindspore(weights), model.name
        load_weights(network, weights, source=source)
        other = network
        description = f"{named}, {_parameters(shapes):,} parameters"
    if classes != config.data.num_classes:
        raise UserError(f"{source}: the teacher has {classes} classes, data.num_classes is {config.data.num_classes}.")
    if batch not in (None, config.data.batch_size):
        raise UserError(
            f"{source}: the MINDIR has batch size {batch}, but data.batch_size is {config.data.batch_size}; "
            f"give data.batch_size={batch}, or export it with a dynamic batch."
        )
    network, other = (OfStudentsImages(config, each, order) for each in (network, other))
    return Teaching(Teacher(config, network), other, description, hashlib.sha256(path.read_bytes()).hexdigest(), batch)


def _parameters(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The number of trained values, without batch-norm statistics."""
    return sum(
        math.prod(shape) for name, shape in shapes.items() if not re.search(r"\.(running_\w+|num_batches_tracked)$", name)
    )
