"""Normalisation and random erasing on the device, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

from deit.data.erasing import noise_bank, noise_rows
from deit.engine.normalize import Normalize, RandomErasing

pytestmark = pytest.mark.usefixtures("graph_mode")


def test_normalize_is_the_usual_formula() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    wanted = ((images / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(Normalize(mean, std)(Tensor(images)).asnumpy(), wanted, atol=2e-6)


@pytest.mark.parametrize("mode", ["const", "rand", "pixel"])
def test_erasing_fills_its_boxes_and_nothing_else(mode: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    boxes = np.array([[[1, 2, 3, 4], [0, 0, 0, 0]], [[0, 0, 2, 2], [5, 5, 3, 3]]], np.int32)
    colours = rng.standard_normal((2, 2, 3)).astype(np.float16)
    places = np.stack([noise_rows(rng, 8), noise_rows(rng, 8)])
    pixels = noise_bank(5, (8, 8))[places]
    noise = {"const": None, "rand": Tensor(colours), "pixel": Tensor(places)}[mode]
    got = RandomErasing(mode, 2, seed=5, size=(8, 8))(Tensor(images), Tensor(boxes), noise).asnumpy()
    wanted = images.copy()
    for i in range(2):
        for r in range(2):
            top, left, height, width = boxes[i, r]
            rows, columns = slice(top, top + height), slice(left, left + width)
            filling = {"const": 0, "rand": colours[i, r][:, None, None], "pixel": pixels[i][:, rows, columns]}
            wanted[i, :, rows, columns] = filling[mode]
    np.testing.assert_array_equal(got, wanted)
