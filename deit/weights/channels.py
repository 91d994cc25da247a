"""The patch embedding for another number of colour channels (timm: ``adapt_input_conv``)."""

from __future__ import annotations

import numpy as np

Shape = tuple[int, ...]


def can_adapt(old: Shape, new: Shape) -> bool:
    """Whether a convolution's weights of the shape ``old`` [O, C, H, W] can be made into ``new``."""
    same = len(old) == len(new) == 4 and (old[0], *old[2:]) == (new[0], *new[2:])
    return same and old[1] != new[1] and (new[1] == 1 or old[1] in (1, 3))


def adapt(weight: np.ndarray, channels: int) -> np.ndarray:
    """``weight`` [O, C, H, W] for images of so many channels: [O, channels, H, W], float32.

    To grey: the sum over the channels, so that a grey image gives the same output as its copy in every channel did. From RGB
    to n: the channels repeated, times 3 / n. Both as timm. From grey, which timm rejects: an equal part of the weight for each
    channel, so that a grey image stored as RGB gives the same output as before.
    """
    found = weight.shape[1]
    if channels == 1:
        return weight.sum(axis=1, keepdims=True, dtype=np.float32)
    repeated = np.tile(weight, (1, -(-channels // found), 1, 1))[:, :channels]
    return (repeated * np.float32(found / channels)).astype(np.float32)
