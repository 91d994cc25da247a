"""What the device does with uint8 images before the network: normalisation and random erasing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops

from deit.engine.mixing import in_box


class Normalize(nn.Cell):
    """uint8 [B, H, W, 3] to float32 [B, 3, H, W]: (x / 255 - mean) / std."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # One multiplication and one addition: x * scale + shift.
        self.scale = Tensor([1 / (255 * s) for s in std], ms.float32)
        self.shift = Tensor([-m / s for m, s in zip(mean, std, strict=True)], ms.float32)

    def construct(self, images: Tensor) -> Tensor:
        return ops.transpose(ops.cast(images, ms.float32) * self.scale + self.shift, (0, 3, 1, 2))


class RandomErasing(nn.Cell):
    """Fill boxes of normalised images (timm 0.3.2 ``RandomErasing``); the host drew where and with what.

    ``pixel``: noise [B, H, W, 3], a draw for each pixel; ``rand``: noise [B, R, 3], one colour a box;
    ``const``: zero, the mean colour.
    """

    def __init__(self, mode: str, count: int) -> None:
        super().__init__()
        self.mode, self.count = mode, count

    def construct(self, images: Tensor, boxes: Tensor, noise: Any) -> Tensor:
        """``images`` [B, 3, H, W], ``boxes`` int32 [B, R, 4] as top, left, height, width; zeros for none."""
        height, width = images.shape[2], images.shape[3]
        for i in range(self.count):
            top, left = boxes[:, i, 0], boxes[:, i, 1]
            box = ops.stack((top, top + boxes[:, i, 2], left, left + boxes[:, i, 3]), 1)
            inside = ops.broadcast_to(in_box(box, height, width), images.shape)
            if self.mode == "pixel":
                filling = ops.transpose(ops.cast(noise, ms.float32), (0, 3, 1, 2))
            elif self.mode == "rand":
                filling = ops.broadcast_to(ops.cast(noise[:, i], ms.float32).reshape((-1, 3, 1, 1)), images.shape)
            else:
                filling = ops.zeros_like(images)
            images = ops.select(inside, filling, images)
        return images
