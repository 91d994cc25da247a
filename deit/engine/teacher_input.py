"""From the student's network input to the teacher's, where the teacher was trained with another size, mean or deviation.

It is part of the teacher's graph. Augmentation, erasing and mixing have happened before, so both see the same picture.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from deit.config.schema import RunConfig, sides
from deit.weights.pos_embed import antialiased

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, as Pillow's mode L


class TeacherInput(nn.Cell):
    """Normalised images float32 [B, C, H, W] of the student to those of the teacher, [B, C', H', W'].

    Channels are normalised again; RGB becomes grey, or grey RGB; another size is resized bicubically with antialiasing, as
    Pillow does, and stretched if the aspect ratio differs. What is equal costs nothing and changes no bit.
    """

    def __init__(self, config: RunConfig) -> None:
        """``distill.img_size``, ``mean`` and ``std`` are those of the teacher; null for those of the student."""
        super().__init__(auto_prefix=False)
        data, distill = config.data, config.distill
        mean, std = np.array(distill.mean or data.mean), np.array(distill.std or data.std)
        own_mean, own_std = np.array(data.mean), np.array(data.std)
        self.scale = self.shift = self.rows = self.columns = None
        self.to_grey = len(own_mean) > len(mean)
        if not (np.array_equal(mean, own_mean) and np.array_equal(std, own_std)):
            if self.to_grey:
                own_mean, own_std = np.array(LUMINANCE) @ own_mean, np.array(LUMINANCE) * own_std
            self.scale = _tensor(own_std / std, (1, -1, 1, 1))
            self.shift = _tensor((own_mean - mean) / std, (1, -1, 1, 1))
        old, new = config.model.image_size, teacher_size(config)
        if old[0] != new[0]:
            self.rows = _tensor(antialiased(old[0], new[0]))
        if old[1] != new[1]:
            self.columns = _tensor(antialiased(old[1], new[1]).T)

    def construct(self, images: Tensor) -> Tensor:
        if self.scale is not None:
            images = images * self.scale
            if self.to_grey:
                images = images.sum(1, keepdims=True)
            images = images + self.shift
        if self.columns is not None:
            images = ops.matmul(images, self.columns)
        if self.rows is not None:
            images = ops.matmul(self.rows, images)
        return images


def teacher_size(config: RunConfig) -> tuple[int, int]:
    """Height and width of the teacher's images."""
    return config.model.image_size if config.distill.img_size is None else sides(config.distill.img_size)


def _tensor(values: np.ndarray, shape: tuple[int, ...] | None = None) -> Tensor:
    values = np.asarray(values, np.float32)
    return Tensor(values if shape is None else values.reshape(shape), ms.float32)
