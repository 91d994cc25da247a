"""Position embeddings for another image size or another number of leading tokens (DeiT paper, section 5.2).

As facebookresearch/deit for fine-tuning at 384 pixels: bicubic, without antialiasing, corners not aligned; or antialiased,
as timm's resample_abs_pos_embed. MindSpore's own bicubic differs by more than a third, so both are implemented here; they run
once, on the host.
"""

from __future__ import annotations

import math

import numpy as np

from deit.errors import UserError

Grid = tuple[int, int]  # rows and columns of patches

_A, _ANTIALIASED_A = -0.75, -0.5  # of the cubic kernel: torch's; torch's with antialiasing, PIL's and MindSpore's


def resize(
    pos_embed: np.ndarray, prefix: int, grid: int | Grid, *, old: Grid | None = None, antialias: bool = False
) -> np.ndarray:
    """``pos_embed`` [1, prefix + N, D] for a ``grid`` of patches, a number for a square: [1, prefix + patches, D], float32.

    ``old`` is the grid of its N patches, by default a square. The ``prefix`` rows of the class and distillation token are
    unchanged. Raises UserError if the rest is no such grid. Source: timm's resample_abs_pos_embed, which is
    torch.nn.functional.interpolate(mode="bicubic", align_corners=False, antialias=antialias).
    """
    tokens, width = pos_embed.shape[1:]
    if old is None and (square := side(tokens, prefix)) is not None:
        old = square, square
    if old is None or math.prod(old) != tokens - prefix:
        expected = "a square" if old is None else f"{old[0]} x {old[1]}"
        raise UserError(
            f"pos_embed has {tokens} tokens; without the {prefix} that are not patches, the rest is not {expected} of patches."
        )
    new = (grid, grid) if isinstance(grid, int) else grid
    if old == new:
        return pos_embed.astype(np.float32)
    patches = pos_embed[0, prefix:].reshape(*old, width).astype(np.float64)
    weigh = antialiased if antialias else _bicubic
    rows, columns = (weigh(before, now) for before, now in zip(old, new, strict=True))
    resized = np.einsum("yi,xj,ijd->yxd", rows, columns, patches, optimize=True)
    return np.concatenate([pos_embed[:, :prefix], resized.reshape(1, -1, width)], axis=1).astype(np.float32)


def side(tokens: int, prefix: int) -> int | None:
    """Patches per side of the square of ``tokens`` positions; None if they form no square."""
    patches = tokens - prefix
    root = math.isqrt(max(patches, 0))
    return root if root > 0 and root * root == patches else None


def _bicubic(old: int, new: int) -> np.ndarray:
    """[new, old]: the weight of each old position for each new one; the border is repeated."""
    weights = np.zeros((new, old))
    for row in range(new):
        centre = (row + 0.5) * old / new - 0.5
        first = math.floor(centre) - 1
        for column in range(first, first + 4):
            weights[row, min(max(column, 0), old - 1)] += _kernel(abs(centre - column))
    return weights


def antialiased(old: int, new: int) -> np.ndarray:
    """[new, old], the same with a kernel as wide as the new distance if that is larger, cut at the border: what Pillow does to
    resize an image bicubically.
    """
    weights, step = np.zeros((new, old)), old / new
    wide = max(step, 1.0)
    for row in range(new):
        centre = (row + 0.5) * step
        first, last = max(int(centre - 2 * wide + 0.5), 0), min(int(centre + 2 * wide + 0.5), old)
        for column in range(first, last):
            weights[row, column] = _kernel(abs(column + 0.5 - centre) / wide, _ANTIALIASED_A)
    return weights / weights.sum(axis=1, keepdims=True)


def _kernel(x: float, a: float = _A) -> float:
    """The cubic convolution kernel (Keys 1981) at distance ``x``."""
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    if x < 2:
        return a * (x**3 - 5 * x**2 + 8 * x - 4)
    return 0.0
