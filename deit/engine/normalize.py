"""Normalisation, random erasing and mixing of a uint8 batch on the device."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from deit.config.schema import RunConfig
from deit.data.erasing import noise_bank
from deit.engine import mixing


class Normalize(nn.Cell):
    """uint8 [B, H, W, C] to float32 [B, C, H, W]: (x / 255 - mean) / std."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # One multiplication and one addition: x * scale + shift.
        self.scale = Tensor([1 / (255 * s) for s in std], ms.float32)
        self.shift = Tensor([-m / s for m, s in zip(mean, std, strict=True)], ms.float32)

    def construct(self, images: Tensor) -> Tensor:
        return ops.transpose(ops.cast(images, ms.float32) * self.scale + self.shift, (0, 3, 1, 2))


class RandomErasing(nn.Cell):
    """Fill boxes of normalised images (timm 0.3.2 ``RandomErasing``); the host draws where and with what.

    ``pixel``: noise int32 [B, C, H], the rows of the bank (``deit.data.erasing``) whose values fill the boxes, one for each
    pixel; ``rand``: noise [B, R, C], one colour per box; ``const``: zero, the mean colour.
    """

    def __init__(self, mode: str, count: int, seed: int, size: tuple[int, int]) -> None:
        """``seed`` and the ``size`` of the images, height and width, determine the bank."""
        super().__init__()
        self.mode, self.count = mode, count
        self.bank = _bank(seed, size) if mode == "pixel" else None

    def construct(self, images: Tensor, boxes: Tensor, noise: Any) -> Tensor:
        """``images`` [B, C, H, W], ``boxes`` int32 [B, R, 4] as top, left, height, width; zeros for none."""
        height, width = images.shape[2], images.shape[3]
        # Gathers whole rows: static shapes, and blocks of memory instead of single values.
        pixels = ops.gather(self.bank, noise, 0) if self.mode == "pixel" else None
        for i in range(self.count):
            top, left = boxes[:, i, 0], boxes[:, i, 1]
            box = ops.stack((top, top + boxes[:, i, 2], left, left + boxes[:, i, 3]), 1)
            inside = ops.broadcast_to(mixing.in_box(box, height, width), images.shape)
            if self.mode == "pixel":
                filling = pixels
            elif self.mode == "rand":
                filling = ops.broadcast_to(ops.cast(noise[:, i], ms.float32).reshape((-1, images.shape[1], 1, 1)), images.shape)
            else:
                filling = ops.zeros_like(images)
            images = ops.select(inside, filling, images)
        return images


@functools.lru_cache(maxsize=1)
def _bank(seed: int, size: tuple[int, int]) -> Parameter:
    # One for all graphs of a run: those of micro steps and of a teacher. As a parameter it stays on the device.
    return Parameter(Tensor.from_numpy(noise_bank(seed, size)), "erasing_noise", requires_grad=False)


class Inputs(nn.Cell):
    """From a training batch to the network's input and targets: normalise, erase, mix.

    The train step and ``task=preview`` share it, so that the preview shows the real input.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        assert config.data.num_classes is not None  # the launcher has counted the classes
        augment = config.augment
        self.num_classes, self.smoothing = config.data.num_classes, augment.smoothing
        self.normalize = Normalize(config.data.mean, config.data.std)
        self.erase = None
        if augment.reprob > 0:
            self.erase = RandomErasing(augment.remode, augment.recount, config.seed, config.model.image_size)
        self.mix = mixing.enabled(augment)

    def construct(self, images, labels, boxes, noise, blend, mix_box, lam):  # type: ignore[no-untyped-def]  # some are None
        """Images float32 [B, C, H, W] and targets float32 [B, K].

        The arguments are ``deit.engine.step_inputs.BatchInputs``, unpacked.
        """
        inputs = self.normalize(images)
        if self.erase is not None:
            inputs = self.erase(inputs, boxes, noise)
        if self.mix:
            inputs = mixing.mix_images(inputs, blend, mix_box)
        else:
            lam = ops.ones(labels.shape, ms.float32)
        return inputs, mixing.soft_targets(labels, lam, self.num_classes, self.smoothing)
