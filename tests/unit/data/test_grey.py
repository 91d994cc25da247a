"""Grey images for networks with one channel."""

from __future__ import annotations

import numpy as np
from PIL import Image

from deit.data.grey import as_read


def test_grey_is_pillows_luminance_and_rgb_is_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    grey = as_read(image, 1)
    np.testing.assert_array_equal(grey, np.stack([np.asarray(Image.fromarray(image).convert("L"))] * 3, -1))
    assert as_read(image, 3) is image
