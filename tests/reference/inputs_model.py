"""The weights and images that both sides put into the networks, and the networks compared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deit.randomness import generator

# timm's name of each variant, and the option of conf/model/ that is to be the same.
VARIANTS = {
    "deit_tiny_patch16_224": "deit_tiny",
    "deit_small_patch16_224": "deit_small",
    "deit_base_patch16_224": "deit_base",
    "deit_tiny_distilled_patch16_224": "deit_tiny_distilled",
    "deit_small_distilled_patch16_224": "deit_small_distilled",
    "deit_base_distilled_patch16_224": "deit_base_distilled",
    "deit_base_patch16_384": "deit_base_384",
    "deit_base_distilled_patch16_384": "deit_base_distilled_384",
}
RESIZED = "deit_tiny_distilled_patch16_224"  # run at 384 pixels with its position embedding resized


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """float32 weights for timm's names: nothing is zero or one, so that each parameter shows in the logits."""
    found = {}
    for name, shape in shapes.items():
        found[name] = np.float32(0.03) * generator(0, f"reference:{name}").standard_normal(shape, np.float32)
        if "norm" in name and name.endswith(".weight"):
            found[name] += 1
    return found


def images(count: int, size: int) -> np.ndarray:
    """Normalised images [count, 3, size, size]."""
    return generator(0, "reference:images").standard_normal((count, 3, size, size), np.float32)


def count(size: int) -> int:
    """Images given to a network of that input size."""
    return 2 if size == 224 else 1
