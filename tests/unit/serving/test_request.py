"""What a request may contain, and the messages for everything else."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deit.errors import UserError
from deit.serving.request import Limits, cells_of, read_images

LIMITS = Limits(max_images=3, max_pixels=100)
PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


def file() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "png")
    return stream.getvalue()


TEXT = base64.b64encode(file()).decode()
FORMS = {
    "base64": TEXT,
    "wrapped and without padding": "\n".join(TEXT[i : i + 20] for i in range(0, len(TEXT), 20)).rstrip("="),
    "URL-safe": TEXT.replace("+", "-").replace("/", "_"),
    "data URL": f"data:image/png;base64,{TEXT}",
    "bytes": file(),
    "array": PIXELS.astype(np.int64),
    "lists": PIXELS.tolist(),
    "Pillow": Image.fromarray(PIXELS),
}


def read(*cells: Any) -> np.ndarray:
    return read_images(cells, LIMITS, lambda image: image, "white")


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_same_pixels(form: str) -> None:
    found = read(FORMS[form])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, PIXELS[None])


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (None, "is nothing"),
        (float("nan"), "is nothing"),
        (7, "is int"),
        ("https://example.org/a.png", "an address or a path"),
        ("photos/a.JPG", "an address or a path"),
        ("data:image/png,abc", "without ;base64"),
        ("*", "not base64 text"),
        (PIXELS / 255, "whole numbers from 0 to 255"),
        (PIXELS.astype(int) - 1, "numbers from -1 to 58"),
        (PIXELS[..., :1], "is uint8 [5, 4, 1]; allowed: RGB [H, W, 3] or grey [H, W]"),
        (PIXELS[:0], "is uint8 [0, 4, 3]"),
        ([[[1, 2, 3]], [[1, 2]]], "rows differ in length"),
        (np.zeros((11, 10, 3), np.uint8), "max_pixels"),
        (Image.new("RGB", (11, 10)), "max_pixels"),
    ],
)
def test_error_names_the_number_of_the_image(cell: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read(PIXELS, cell)
    assert "image 1" in str(caught.value) and said in str(caught.value) and "image 0" not in str(caught.value)
    assert "data.max_pixels" not in str(caught.value)


def test_the_number_of_images_is_limited() -> None:
    for cells in ((), (PIXELS,) * 4):
        with pytest.raises(UserError, match="allowed: 1 to 3"):
            read(*cells)
    assert len(read([TEXT, TEXT])) == 2  # MLflow makes one cell of a list of texts


def test_cells_of_all_supported_inputs() -> None:
    assert len(cells_of(np.zeros((2, 5, 4, 3))) or ()) == 2
    assert len(cells_of(PIXELS) or ()) == len(cells_of("text") or ()) == 1
    assert cells_of([TEXT, file()]) == [TEXT, file()]
    assert cells_of({"image": [TEXT]}) is None and cells_of([{"image": TEXT}]) is None and cells_of([]) is None
