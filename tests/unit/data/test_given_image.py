"""Images given as arrays or as Pillow's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deit.data.given_image import from_array, from_pillow
from deit.errors import BadImage

GREY = np.arange(20, dtype=np.uint8).reshape(5, 4)


def test_grey_pixels_become_rgb() -> None:
    for given in (GREY, GREY.astype(np.int64), GREY.tolist()):
        found = from_array(given, "x", 100)
        assert found.dtype == np.uint8 and found.flags.c_contiguous
        np.testing.assert_array_equal(found, np.stack([GREY] * 3, -1))


def test_pillow_image_is_decoded_and_a_truncated_one_is_bad(tmp_path: Path) -> None:
    np.testing.assert_array_equal(from_pillow(Image.fromarray(GREY), "x", 100, "none"), from_array(GREY, "x", 100))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-500])
    with Image.open(tmp_path / "cut.png") as opened, pytest.raises(BadImage, match=r"^x: not readable as an image"):
        from_pillow(opened, "x", 10**4, "none")
    with pytest.raises(BadImage, match=r"data\.max_pixels=100"):
        from_pillow(Image.new("RGB", (11, 10)), "x", 100, "none")
