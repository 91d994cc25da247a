"""Networks for images of another number of channels or another aspect ratio, and transforms for them."""

from __future__ import annotations

import numpy as np
from reference.inputs_transform import Evaluation

from deit.randomness import generator

VARIANT = "deit_tiny_patch16_224"  # and the option deit_tiny of conf/model/
CHANNELS = (1, 4)
GREY = (Evaluation(224, 0.9), Evaluation(32, 1.0, "bilinear"))


def images(count: int, channels: int, height: int, width: int) -> np.ndarray:
    """Normalised images [count, channels, height, width]."""
    return generator(0, "reference:images").standard_normal((count, channels, height, width), np.float32)
