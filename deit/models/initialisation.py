"""Initial weights: those of timm's VisionTransformer, as a function of the seed.

Each parameter has its own random stream, so its values depend neither on the order nor on the presence of others: two
classifiers of different width start from the same body.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from deit.randomness import generator

CONV = "patch_embed.proj"
LAYER_SCALES = (".ls1.gamma", ".ls2.gamma")


def initial_weights(
    shapes: Mapping[str, tuple[int, ...]], seed: int, layer_scale: float | None = None
) -> dict[str, np.ndarray]:
    """float32 arrays of the given shapes (``deit.models.shapes.parameter_shapes``).

    Norms are the identity, dense biases 0 and LayerScale's factors ``layer_scale``. Tokens, position embedding and dense
    weights are normal with standard deviation .02; timm truncates them at +-2, a hundred deviations away, which has no
    effect. (In timm's float32 arithmetic one value in some 2**24 is exactly -2; that is not reproduced.) The patch
    convolution has torch's default: weight (Kaiming with a = sqrt 5) and bias uniform within +-1 / sqrt(fan in).
    """
    return {name: _initial(name, shapes, seed, layer_scale) for name in shapes}


def _initial(name: str, shapes: Mapping[str, tuple[int, ...]], seed: int, layer_scale: float | None) -> np.ndarray:
    shape = shapes[name]
    random = generator(seed, f"init:{name}")
    if name.startswith(CONV):
        bound = 1 / math.sqrt(math.prod(shapes[f"{CONV}.weight"][1:]))
        return random.uniform(-bound, bound, shape).astype(np.float32)
    if name.endswith(LAYER_SCALES):
        if layer_scale is None:
            raise ValueError(f"{name} needs an initial value")
        return np.full(shape, layer_scale, np.float32)
    if name.endswith(".gamma"):
        return np.ones(shape, np.float32)
    if name.endswith((".beta", ".bias")):
        return np.zeros(shape, np.float32)
    return random.standard_normal(shape, np.float32) * np.float32(0.02)
