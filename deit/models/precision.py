"""In which number type each part of the network computes.

Parameters are float32 throughout and are cast where they are used, so their gradients are float32 too and
the optimizer needs no second copy. The casts stand in the network's own code instead of being put in
from outside, so a level means the same in graph mode and operator by operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mindspore as ms

from deit.config.schema import PrecisionConfig


@dataclass(frozen=True)
class ComputeTypes:
    """``matmul``: dense layers, patch convolution, attention products; ``norm``: LayerNorm and softmax;
    ``rest``: the others.
    """

    matmul: Any
    norm: Any
    rest: Any


FLOAT32 = ComputeTypes(ms.float32, ms.float32, ms.float32)


def compute_types(config: PrecisionConfig) -> ComputeTypes:
    """The types of a precision level; what O0 to O3 mean stands in the schema, ``precision.level``."""
    half = {"float16": ms.float16, "bfloat16": ms.bfloat16}[config.dtype]
    return {
        "O0": FLOAT32,
        "O1": ComputeTypes(half, ms.float32, ms.float32),
        "O2": ComputeTypes(half, ms.float32, half),
        "O3": ComputeTypes(half, half, half),
    }[config.level]
