"""Mixup, CutMix and label smoothing (timm 0.3.2, ``timm.data.mixup``).

The host draws a few numbers per image; the device mixes. One formula serves mixup and CutMix in all modes: image i becomes
``blend * x_i + (1 - blend) * x_j`` with j the image at the mirrored position of the batch, and x_j again inside ``box``. Its
target is ``lam * y_i + (1 - lam) * y_j``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from deit.config.schema import AugmentConfig


@dataclass
class Mix:
    """The random draws for a batch of B images."""

    blend: np.ndarray  # float32 [B]: weight of the image's own pixels, 1 with CutMix
    box: np.ndarray  # int32 [B, 4]: top, bottom, left, right (exclusive) of the pasted box, zeros for none
    lam: np.ndarray  # float32 [B]: weight of the image's own target


def enabled(augment: AugmentConfig) -> bool:
    return augment.mixup_prob > 0 and (augment.mixup > 0 or augment.cutmix > 0)


def draw(augment: AugmentConfig, batch: int, size: tuple[int, int], rng: np.random.Generator) -> Mix:
    """Draw the mixing of ``batch`` images of that ``size``, height and width, in the configured mode."""
    mix = Mix(np.ones(batch, np.float32), np.zeros((batch, 4), np.int32), np.ones(batch, np.float32))
    places: dict[str, Sequence[Any]] = {
        "batch": [slice(None)],
        "pair": [[i, batch - 1 - i] for i in range(batch // 2)],
        "elem": range(batch),
    }
    for place in places[augment.mixup_mode]:
        mix.blend[place], mix.box[place], mix.lam[place] = _draw_one(augment, size, rng)
    return mix


def _draw_one(
    augment: AugmentConfig, size: tuple[int, int], rng: np.random.Generator
) -> tuple[float, tuple[int, int, int, int], float]:
    nothing = (0, 0, 0, 0)
    if rng.random() >= augment.mixup_prob:
        return 1.0, nothing, 1.0
    if augment.mixup > 0 and augment.cutmix > 0:
        cut = rng.random() < augment.mixup_switch_prob
    else:
        cut = augment.cutmix > 0
    if not cut:
        lam = float(rng.beta(augment.mixup, augment.mixup))
        return lam, nothing, lam
    lam = float(rng.beta(augment.cutmix, augment.cutmix))
    height, width = size
    share = np.sqrt(1 - lam)
    tall, wide = int(height * share) // 2, int(width * share) // 2
    row, column = int(rng.integers(height)), int(rng.integers(width))
    top, bottom = max(row - tall, 0), min(row + tall, height)
    left, right = max(column - wide, 0), min(column + wide, width)
    # The box is clipped at the border, so lambda is the area that is really kept.
    return 1.0, (top, bottom, left, right), 1 - (bottom - top) * (right - left) / (height * width)


def mix_images(images: Tensor, blend: Tensor, box: Tensor) -> Tensor:
    """Mix normalised images [B, C, H, W] with the reversed batch; ``blend`` [B], ``box`` [B, 4]."""
    partner = _reversed(images)
    weight = blend.reshape((-1, 1, 1, 1))
    mixed = images * weight + partner * (1 - weight)
    inside = in_box(box, images.shape[2], images.shape[3])
    return ops.select(ops.broadcast_to(inside, images.shape), partner, mixed)


def in_box(box: Tensor, height: int, width: int) -> Tensor:
    """Mask bool [B, 1, height, width] of ``box`` int32 [B, 4] (top, bottom, left, right)."""
    rows = ops.arange(0, height, dtype=ms.int32).reshape((1, 1, height, 1))
    columns = ops.arange(0, width, dtype=ms.int32).reshape((1, 1, 1, width))
    edges = box.reshape((-1, 4, 1, 1))
    in_rows = ops.logical_and(rows >= edges[:, 0:1], rows < edges[:, 1:2])
    in_columns = ops.logical_and(columns >= edges[:, 2:3], columns < edges[:, 3:4])
    return ops.logical_and(in_rows, in_columns)


def soft_targets(labels: Tensor, lam: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Targets float32 [B, K]: off = smoothing / K, on = 1 - smoothing + off, mixed with the reversed batch."""
    off = smoothing / num_classes
    targets = ops.one_hot(labels, num_classes, Tensor(1 - smoothing + off, ms.float32), Tensor(off, ms.float32))
    weight = lam.reshape((-1, 1))
    return targets * weight + _reversed(targets) * (1 - weight)


def _reversed(batch: Tensor) -> Tensor:
    # A gather is several times as fast as ops.flip on the CPU.
    return ops.gather(batch, ops.arange(batch.shape[0] - 1, -1, -1, dtype=ms.int32), 0)
