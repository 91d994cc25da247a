"""The number types of the parts of the network.

Parameters are float32 and are cast where they are used, so their gradients are float32 too and the optimizer needs no second
copy. (In a training on Ascend they are copies in the type of their layer: ``deit.engine.flat_weights``.) The casts are in the
network's own code, so a level means the same in graph mode and operator by operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mindspore as ms

from deit.config.schema import PrecisionConfig


@dataclass(frozen=True)
class ComputeTypes:
    """``matmul``: dense layers, patch embedding, attention products; ``norm``: LayerNorm and softmax; ``rest``: the others.

    ``elementary`` and ``ascend``: which operators are used, see ``deit.models.operators``.
    """

    matmul: Any
    norm: Any
    rest: Any
    elementary: bool = False
    ascend: bool = False


FLOAT32 = ComputeTypes(ms.float32, ms.float32, ms.float32, elementary=True)


def compute_types(config: PrecisionConfig, target: str = "cpu") -> ComputeTypes:
    """The types of a precision level on a device, ``hardware.target``; the schema explains O0 to O3 at ``precision.level``."""
    half, ascend = {"float16": ms.float16, "bfloat16": ms.bfloat16}[config.dtype], target == "ascend"
    return {
        "O0": ComputeTypes(ms.float32, ms.float32, ms.float32, elementary=target == "cpu", ascend=ascend),
        "O1": ComputeTypes(half, ms.float32, ms.float32, ascend=ascend),
        "O2": ComputeTypes(half, ms.float32, half, ascend=ascend),
        "O3": ComputeTypes(half, half, half, ascend=ascend),
    }[config.level]
