"""The image operations of the training transform in Pillow: what timm computes, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from deit.data.crop import Box, Size
from deit.data.geometry import AFFINE, affine_matrix
from deit.data.operations import Operation

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


class PilOps:
    """Operations on Pillow images in mode RGB."""

    def __init__(self, interpolation: str, fill: tuple[int, int, int]) -> None:
        """``interpolation`` is for resizing and the affine operations; ``fill`` is the colour that these uncover, RGB."""
        self.resampling = RESAMPLING[interpolation]
        self.fill = fill

    def start(self, image: np.ndarray) -> Image.Image:
        """From uint8 [H, W, 3]."""
        return Image.fromarray(np.ascontiguousarray(image))  # which copies a part of an image fast, where Pillow is slow

    def finish(self, image: Image.Image) -> np.ndarray:
        """To uint8 [H, W, 3]."""
        return np.asarray(image)

    def crop(self, image: Image.Image, box: Box, size: Size) -> Image.Image:
        """Cut out the box and resize it to that size (torchvision's resized_crop)."""
        top, left, height, width = box
        cut = image.crop((left, top, left + width, top + height))
        return cut.resize((size[1], size[0]), self.resampling)

    def resize(self, image: Image.Image, height: int, width: int) -> Image.Image:
        """Resize the whole image."""
        return image.resize((width, height), self.resampling)

    def reflect(self, image: Image.Image, padding: int) -> Image.Image:
        """Add ``padding`` pixels on each side, mirrored at the outermost pixel, which is not repeated."""
        return Image.fromarray(np.pad(np.asarray(image), ((padding, padding), (padding, padding), (0, 0)), "reflect"))

    def flip(self, image: Image.Image) -> Image.Image:
        """Mirror left and right."""
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    def apply(self, image: Image.Image, operation: Operation) -> Image.Image:
        """One operation of a policy or of the colour jitter."""
        name, argument = operation
        if name == "Rotate":  # Pillow builds the matrix itself, with its own rounding
            return image.rotate(argument, self.resampling, fillcolor=self.fill)
        if name in AFFINE:
            matrix = affine_matrix(operation, *image.size)
            return image.transform(image.size, Image.Transform.AFFINE, matrix, self.resampling, fillcolor=self.fill)
        return POINTWISE[name](image, argument)


def _posterize(image: Image.Image, bits: float) -> Image.Image:
    # Pillow 13 rejects 0 bits, which the recipe of DeiT reaches: black. No image has more than 8.
    if bits <= 0:
        return Image.new("RGB", image.size)
    return image if bits >= 8 else ImageOps.posterize(image, int(bits))


def _solarize_add(image: Image.Image, added: float) -> Image.Image:
    table = [min(255, level + int(added)) if level < 128 else level for level in range(256)]
    return image.point(table * 3)


POINTWISE: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
    "Invert": lambda image, _: ImageOps.invert(image),
    "Posterize": _posterize,
    "Solarize": lambda image, threshold: ImageOps.solarize(image, int(threshold)),
    "SolarizeAdd": _solarize_add,
    "Color": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "Contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "Brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "Sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    "Desaturate": lambda image, share: ImageEnhance.Color(image).enhance(1 - share),
    "GaussianBlur": lambda image, radius: image.filter(ImageFilter.GaussianBlur(radius)),
}
