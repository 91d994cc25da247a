"""What both sides of the proofs about weights share: a small DeiT, and position embeddings to resize."""

from __future__ import annotations

import numpy as np

from deit.randomness import generator

# Of timm's VisionTransformer; NETWORK holds the same as overrides of this program.
SMALL = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 5}
NETWORK = ("model=deit_micro", *(f"model.{key}={value}" for key, value in SMALL.items() if key != "num_classes"))
GRIDS = {"224 to 384": (14, 24, 1), "384 to 224": (24, 14, 1), "distilled, 32 to 48": (4, 6, 2)}  # old, new, tokens before


def pos_embed(grid: int, prefix: int) -> np.ndarray:
    """[1, prefix + grid * grid, 8], standard normal: fifty times as large as trained ones."""
    return generator(0, "reference:pos_embed").standard_normal((1, prefix + grid * grid, 8), np.float32)


def images() -> np.ndarray:
    """[2, 3, 8, 8]"""
    return generator(0, "reference:small images").standard_normal((2, 3, 8, 8), np.float32)
