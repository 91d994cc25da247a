"""From a decoded image to the model's input size: the random way of training, the fixed way of evaluation.

Both return uint8; normalisation, erasing and mixing are done on the device.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from PIL import Image

from deit.config.schema import RunConfig
from deit.data.crop import PADDING, Box, Size, central_box, corner_boxes, covering_shape, padded_box, part, random_box
from deit.data.grey import as_read
from deit.data.operations import Operation
from deit.data.ops_opencv import OpencvOps
from deit.data.ops_pil import RESAMPLING, PilOps
from deit.data.policy import jitters, parse_policy


class Ops(Protocol):
    """The interface of both backends; ``Any`` is the backend's own kind of image."""

    def start(self, image: np.ndarray) -> Any: ...
    def finish(self, image: Any) -> np.ndarray: ...
    def crop(self, image: Any, box: Box, size: Size) -> Any: ...
    def resize(self, image: Any, height: int, width: int) -> Any: ...
    def reflect(self, image: Any, padding: int) -> Any: ...
    def flip(self, image: Any) -> Any: ...
    def apply(self, image: Any, operation: Operation) -> Any: ...


BACKENDS: dict[str, type[OpencvOps] | type[PilOps]] = {"opencv": OpencvOps, "pil": PilOps}
JITTERED = ("Brightness", "Contrast", "Color")


class TrainTransform:
    """A random crop, flip, then a policy or colour jitter or, with 3-Augment, both (timm's transforms_imagenet_train)."""

    def __init__(self, config: RunConfig) -> None:
        """Raises UserError if augment.auto_augment is invalid."""
        self.size, self.channels = config.model.image_size, config.model.in_chans
        self.augment = config.augment
        self.policy = parse_policy(self.augment.auto_augment) if self.augment.auto_augment is not None else None
        means = [round(255 * mean) for mean in config.data.mean]
        red, green, blue = means if len(means) == 3 else means[:1] * 3
        self.ops: Ops = BACKENDS[self.augment.backend](config.data.interpolation, (red, green, blue))

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """uint8 [H, W, 3] to uint8 [height, width, in_chans], ``rng`` determines all random choices."""
        return self.finish(part(image, self.box(rng, *image.shape[:2])), rng)

    def box(self, rng: np.random.Generator, height: int, width: int) -> Box:
        """The crop of an image of that size, drawn first. The simple random crop needs the whole image."""
        if self.augment.crop == "src":
            return Box(0, 0, height, width)
        return random_box(rng, height, width, self.augment.scale, self.augment.ratio)

    def finish(self, cut: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """From the crop, uint8 [height, width, 3], with the later random draws."""
        picture = self.ops.start(as_read(cut, self.channels))
        if self.augment.crop == "src":
            picture = self._simple_crop(picture, cut.shape[0], cut.shape[1], rng)
        else:
            picture = self.ops.crop(picture, Box(0, 0, *cut.shape[:2]), self.size)
        if rng.random() < self.augment.hflip:
            picture = self.ops.flip(picture)
        for operation in self._operations(rng):
            picture = self.ops.apply(picture, operation)
        return self.ops.finish(picture)[:, :, : self.channels]

    def _simple_crop(self, picture: Any, height: int, width: int, rng: np.random.Generator) -> Any:
        """DeiT III's: resized so that it covers the size, padded with reflection, cropped (facebookresearch/deit: --src)."""
        height, width = covering_shape(height, width, self.size)
        resized = self.ops.resize(picture, height, width)
        box = padded_box(rng, height, width, self.size)
        return self.ops.crop(self.ops.reflect(resized, PADDING), box, self.size)

    def _operations(self, rng: np.random.Generator) -> list[Operation]:
        drawn = self.policy.draw(rng) if self.policy is not None else []
        strength = self.augment.color_jitter
        if strength > 0 and jitters(self.augment.auto_augment):
            # torchvision's ColorJitter without hue: a factor for each, in random order.
            drawn += [Operation(JITTERED[i], rng.uniform(1 - strength, 1 + strength)) for i in rng.permutation(3)]
        return drawn


class EvalTransform:
    """Resize so that the image covers img_size / crop_pct, crop the centre: timm's transforms_imagenet_eval, pixel for pixel.

    It uses Pillow whatever augment.backend is, so that accuracies are comparable with those of others.
    """

    def __init__(self, config: RunConfig) -> None:
        self.size, self.channels = config.model.image_size, config.model.in_chans
        self.shape: tuple[int, ...] = (*self.size, self.channels)
        self.covered: Size = tuple(math.floor(side / config.data.crop_pct) for side in self.size)  # type: ignore[assignment]
        self.resampling = RESAMPLING[config.data.interpolation]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] to uint8 [height, width, in_chans]."""
        image = self.resized(image)
        return part(image, central_box(image.shape[0], image.shape[1], self.size))

    def resized(self, image: np.ndarray) -> np.ndarray:
        """The whole image, resized, with the channels of the network."""
        image = as_read(image, self.channels)
        height, width = covering_shape(image.shape[0], image.shape[1], self.covered)
        if (height, width) != image.shape[:2]:
            image = np.asarray(Image.fromarray(image).resize((width, height), self.resampling))
        return image[:, :, : self.channels]


class FiveCrops(EvalTransform):
    """The four corners of the resized image, then its centre: uint8 [5, ...] of what ``EvalTransform`` returns.

    As torchvision's FiveCrop.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.shape = (5, *self.shape)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        image = self.resized(image)
        height, width = image.shape[:2]
        boxes = [*corner_boxes(height, width, self.size), central_box(height, width, self.size)]
        return np.stack([part(image, box) for box in boxes])
