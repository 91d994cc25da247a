"""The DeiT III networks compared, and what goes into them and into their loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deit.randomness import generator


@dataclass(frozen=True)
class Variant:
    """An option of conf/model/ that is to be timm's model, and how many of its equal blocks the logits are compared with."""

    option: str
    size: int
    depth: int


# By timm's names. timm has no medium or huge for 384 pixels.
VARIANTS = {
    "deit3_small_patch16_224": Variant("deit3_small", 224, 12),
    "deit3_small_patch16_384": Variant("deit3_small_384", 384, 2),
    "deit3_medium_patch16_224": Variant("deit3_medium", 224, 2),
    "deit3_base_patch16_224": Variant("deit3_base", 224, 2),
    "deit3_base_patch16_384": Variant("deit3_base_384", 384, 2),
    "deit3_large_patch16_224": Variant("deit3_large", 224, 2),
    "deit3_large_patch16_384": Variant("deit3_large_384", 384, 2),
    "deit3_huge_patch14_224": Variant("deit3_huge", 224, 2),
}
RESIZED = "deit3_medium_patch16_224"  # run at 384 pixels with its position embedding resized

MICRO = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4}
BATCH, CLASSES = 8, 10


def logits() -> np.ndarray:
    """float32 [B, K], of both signs and sharp."""
    return 4 * generator(0, "reference:deit3 logits").standard_normal((BATCH, CLASSES), np.float32)


def labels() -> np.ndarray:
    return generator(0, "reference:deit3 labels").integers(0, CLASSES, BATCH)


def lam() -> np.ndarray:
    """Mixup's weight of each image's own target."""
    return generator(0, "reference:deit3 lam").random(BATCH, np.float32)


def sample(gradient: np.ndarray) -> np.ndarray:
    """The elements compared: all of a vector, every 16th of the rest."""
    return gradient if gradient.ndim == 1 else np.ascontiguousarray(gradient.ravel()[::16])
