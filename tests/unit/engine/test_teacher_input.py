"""The teacher's own images: another normalisation, other channels, another size."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from composition import composed
from mindspore import Tensor
from PIL import Image

from deit.config.schema import RunConfig
from deit.engine.normalize import Normalize
from deit.engine.teacher_input import TeacherInput

pytestmark = pytest.mark.usefixtures("graph_mode")
RGB = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def settings(teacher: dict[str, Any], *typed: str) -> RunConfig:
    config = composed(
        "experiment=quickstart", "model.img_size=[24,32]", "data.mean=[0.2,0.3,0.4]", "data.std=[0.5,0.6,0.7]", *typed
    )
    return dataclasses.replace(config, distill=dataclasses.replace(config.distill, **teacher))


def pixels(channels: int = 3) -> np.ndarray:
    smooth = np.random.default_rng(0).integers(0, 256, (2, 6, 8, channels)).astype(np.uint8)
    return smooth.repeat(4, 1).repeat(4, 2)


def seen(config: RunConfig, images: np.ndarray) -> np.ndarray:
    student = Normalize(config.data.mean, config.data.std)(Tensor(images))
    return TeacherInput(config)(student).asnumpy()


def normalized(images: np.ndarray, mean: list[float], std: list[float]) -> np.ndarray:
    return ((images / 255 - mean) / std).transpose(0, 3, 1, 2)


def test_equal_images_keep_every_bit() -> None:
    for teacher in ({}, {"img_size": [24, 32], "mean": [0.2, 0.3, 0.4], "std": [0.5, 0.6, 0.7]}):
        config, images = settings(teacher), pixels()
        student = Normalize(config.data.mean, config.data.std)(Tensor(images)).asnumpy()
        np.testing.assert_array_equal(seen(config, images), student)


def test_channels_are_normalised_again_and_become_grey_or_rgb() -> None:
    images = pixels()
    again = seen(settings({"mean": RGB[0], "std": RGB[1]}), images)
    np.testing.assert_allclose(again, normalized(images, *RGB), atol=1e-5)
    luminance = images @ np.array([[0.299], [0.587], [0.114]])
    to_grey = seen(settings({"mean": [0.4], "std": [0.3]}), images)
    np.testing.assert_allclose(to_grey, normalized(luminance, [0.4], [0.3]), atol=1e-5)
    grey = ("model.in_chans=1", "data.mean=[0.4]", "data.std=[0.3]")
    to_rgb = seen(settings({"mean": RGB[0], "std": RGB[1]}, *grey), pixels(1))
    np.testing.assert_allclose(to_rgb, normalized(pixels(1).repeat(3, 3), *RGB), atol=1e-5)


@pytest.mark.parametrize("size", [(48, 64), (16, 20), (24, 40), (36, 32)])
def test_another_size_is_resized_as_pillow_does(size: tuple[int, int]) -> None:
    config, images = settings({"img_size": [*size], "mean": RGB[0], "std": RGB[1]}), pixels()
    found = seen(config, images)
    expected = np.stack(
        [
            [np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BICUBIC)) for plane in image]
            for image in normalized(images, *RGB).astype(np.float32)
        ]
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)
