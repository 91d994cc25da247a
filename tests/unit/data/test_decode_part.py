"""Decoding only a part of an image gives the same pixels as cutting it from the whole."""

from __future__ import annotations

import io
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from PIL import Image

from deit.data import decode
from deit.data.crop import Box

MOST = 10**6
WIDTH, HEIGHT = 83, 301
PILLOW = {
    "444": {"subsampling": 0},
    "422": {"subsampling": 1},
    "420": {"subsampling": 2},
    "restarts": {"subsampling": 2, "restart_marker_blocks": 5},
    "progressive": {"progressive": True},
    "grey": {},
}
OPENCV = {"411": 0x411111, "440": 0x121111}


def jpeg(kind: str) -> bytes:
    coarse = np.random.default_rng(3).integers(0, 256, (60, 17, 3), np.uint8)
    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    if kind in OPENCV:
        return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, OPENCV[kind]])[1].tobytes()
    file = io.BytesIO()
    picture = Image.fromarray(image)
    (picture.convert("L") if kind == "grey" else picture).save(file, "JPEG", quality=90, **PILLOW[kind])
    return file.getvalue()


@pytest.fixture
def sparing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in the processes that read images."""
    monkeypatch.setattr(decode, "_error_output", decode._ErrorOutput())
    decode.decode_no_more_than_needed()
    assert decode._error_output.own is not None
    with open(decode._error_output.own, "wb"), open(decode._error_output.nowhere, "wb"):
        yield


@pytest.mark.parametrize("kind", [*PILLOW, *OPENCV])
def test_decoded_part_equals_pillow(
    kind: str, sparing: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    content, heights = jpeg(kind), []

    def counted(data: bytes, real=decode._opencv) -> np.ndarray | None:
        heights.append(None if (found := real(data)) is None else len(found))
        return found

    monkeypatch.setattr(decode, "_opencv", counted)
    expected = decode.decode_pillow(content, kind, MOST, "none")
    for bottom in (1, 7, 8, 15, 16, 17, 100, 140, 284, 285, 286, HEIGHT):
        box = Box(bottom // 3, 11, bottom - bottom // 3, 50)
        found = decode.decode(content, kind, MOST, "none", lambda height, width, box=box: box)
        np.testing.assert_array_equal(found, expected[bottom // 3 : bottom, 11:61])
        assert heights[-1] == (HEIGHT if kind == "progressive" else min(HEIGHT, bottom + decode.MARGIN))
    assert capfd.readouterr() == ("", "")


def test_all_rows_are_decoded_if_other_threads_may_write_errors() -> None:
    content = jpeg("420")
    found = decode._plain_jpeg(content)
    assert found is not None and found.rowwise
    rows = decode._upper_rows(content, found, 10)
    assert rows is not None and rows.shape == (HEIGHT, WIDTH, 3)


def test_file_truncated_below_the_part_is_rejected(sparing: None) -> None:
    content = jpeg("420")
    with pytest.raises(decode.BadImage, match="truncated"):
        decode.decode(content[: len(content) // 2], "cut.jpg", MOST, "none", lambda height, width: Box(0, 0, 8, 8))
