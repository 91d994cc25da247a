"""The architecture of a RegNetY, read from the names and shapes of its weights, so that a file describes itself.

RegNetY ("Designing Network Design Spaces", 2020) is the teacher of the distilled DeiTs; it cannot be trained here. Names are
those of timm's state_dict. NumPy alone, so that the control side can check a file before anything starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from deit.errors import UserError
from deit.models.shapes import Shape, axis_size

BATCH_NORM_EPS = 1e-5
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
_COUNTER = ".num_batches_tracked"  # torch's, only used in training


@dataclass(frozen=True)
class Block:
    """A bottleneck block; the first of each stage halves the image."""

    name: str  # s1.b1
    inputs: int
    width: int
    group_width: int
    se_width: int

    @property
    def first(self) -> bool:
        return self.name.endswith(".b1")

    @property
    def stride(self) -> int:
        return 2 if self.first else 1


@dataclass(frozen=True)
class RegNetY:
    """Architecture of a RegNetY whose classifier has ``num_classes`` outputs."""

    stem_width: int
    blocks: tuple[Block, ...]
    num_classes: int

    def __str__(self) -> str:
        widths = [block.width for block in self.blocks if block.first]
        return f"RegNetY of {len(self.blocks)} blocks, widths {', '.join(map(str, widths))}"


def is_regnet(shapes: Mapping[str, Shape]) -> bool:
    """Whether these look like the weights of a RegNet as timm names them."""
    return "stem.conv.weight" in shapes and "s1.b1.conv1.conv.weight" in shapes


def read_regnet(shapes: Mapping[str, Shape], source: str) -> RegNetY:
    """The RegNetY with weights of these names and shapes. Raises UserError, naming ``source``, if there is none."""
    found = {name: tuple(shape) for name, shape in shapes.items() if not name.endswith(_COUNTER)}

    size = partial(axis_size, found)
    names = {match[1] for name in found if (match := re.match(r"(s\d+\.b\d+)\.", name))}
    blocks = tuple(
        Block(
            name,
            inputs=size(f"{name}.conv1.conv.weight", 1),
            width=size(f"{name}.conv1.conv.weight", 0),
            group_width=size(f"{name}.conv2.conv.weight", 1),
            se_width=size(f"{name}.se.fc1.weight", 0),
        )
        for name in sorted(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    )
    regnet = RegNetY(size("stem.conv.weight", 0), blocks, num_classes=size("head.fc.weight", 0))
    needed = regnet_shapes(regnet)
    wrong = [name for name in {**needed, **found} if needed.get(name) != found.get(name)]
    if wrong:
        raise UserError(
            f"{source}: its names are those of a RegNet, but it is not a RegNetY as in timm: "
            f"{', '.join(_difference(name, needed, found) for name in wrong[:3])}{', ...' if len(wrong) > 3 else ''}."
        )
    inputs = regnet.stem_width
    for block in blocks:
        if block.inputs != inputs or block.group_width == 0 or block.width % block.group_width:
            raise UserError(f"{source}: block {block.name} does not fit the one before it, so it is not a RegNetY.")
        inputs = block.width
    return regnet


def regnet_shapes(regnet: RegNetY) -> dict[str, Shape]:
    """Shape of each weight by timm's names (timm: RegNet, Bottleneck, SEModule, ClassifierHead)."""
    shapes = _convolution("stem", 3, regnet.stem_width, 3)
    for block in regnet.blocks:
        name, width = block.name, block.width
        shapes |= _convolution(f"{name}.conv1", block.inputs, width, 1)
        shapes |= _convolution(f"{name}.conv2", block.group_width, width, 3)
        shapes |= {f"{name}.se.fc1.weight": (block.se_width, width, 1, 1), f"{name}.se.fc1.bias": (block.se_width,)}
        shapes |= {f"{name}.se.fc2.weight": (width, block.se_width, 1, 1), f"{name}.se.fc2.bias": (width,)}
        shapes |= _convolution(f"{name}.conv3", width, width, 1)
        if block.first:
            shapes |= _convolution(f"{name}.downsample", block.inputs, width, 1)
    last = regnet.blocks[-1].width if regnet.blocks else 0
    return shapes | {"head.fc.weight": (regnet.num_classes, last), "head.fc.bias": (regnet.num_classes,)}


def folded(weights: Mapping[str, np.ndarray], regnet: RegNetY) -> dict[str, np.ndarray]:
    """timm's weights (of ``regnet_shapes``) with the names of ``deit.models.regnet``, float32.

    A batch norm with fixed statistics scales and shifts each channel, so it becomes part of its convolution.
    """
    result = {}
    for name in regnet_shapes(regnet):
        if name.endswith(".conv.weight"):
            layer = name.removesuffix(".conv.weight")
            gamma, beta, mean, variance = (weights[f"{layer}.bn.{part}"].astype(np.float64) for part in _BATCH_NORM)
            factor = gamma / np.sqrt(variance + BATCH_NORM_EPS)
            result[f"{layer}.weight"] = weights[name] * factor[:, None, None, None]
            result[f"{layer}.bias"] = beta - mean * factor
        elif ".bn." not in name:
            # The two 1 x 1 convolutions of squeeze and excite see one pixel: dense layers.
            result[name] = weights[name].reshape(weights[name].shape[:2])
    return {name: np.ascontiguousarray(value, np.float32) for name, value in result.items()}


def _convolution(name: str, inputs: int, outputs: int, kernel: int) -> dict[str, Shape]:
    """A convolution without bias, and the batch norm after it."""
    shapes: dict[str, Shape] = {f"{name}.conv.weight": (outputs, inputs, kernel, kernel)}
    return shapes | {f"{name}.bn.{part}": (outputs,) for part in _BATCH_NORM}


def _difference(name: str, needed: Mapping[str, Shape], found: Mapping[str, Shape]) -> str:
    if name not in needed:
        return f"{name} is unknown"
    return f"{name} is missing" if name not in found else f"{name} has the shape {found[name]} instead of {needed[name]}"
