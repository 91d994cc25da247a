"""The images of a request: base64 text of image files, arrays of pixels or Pillow images, all within limits.

An array is a decoded image. It goes through the evaluation's transform like the same pixels in a PNG file, so both give the
same result.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from deit.data.decode import check_file_size, decode
from deit.data.given_image import SHAPES, from_array, from_pillow
from deit.errors import BadImage, UserError

SAID = 5  # maximum number of images whose errors are listed

_DATA_URL = re.compile(r"\s*data:[^,]*?(?P<base64>;base64)?,", re.IGNORECASE)
_ADDRESS = re.compile(r"^\s*\w+://|\.(jpe?g|png|webp|bmp|gif|tiff?)\s*$", re.IGNORECASE)
_FROM_URL_SAFE = str.maketrans("-_", "+/")


@dataclass(frozen=True)
class Limits:
    """``max_images`` in a request, ``max_pixels`` of an image, from its header before it is decoded."""

    max_images: int
    max_pixels: int


def read_images(
    cells: Sequence[Any], limits: Limits, transform: Callable[[np.ndarray], np.ndarray], background: str
) -> np.ndarray:
    """The pixels for the network, uint8 [N, H, W, C]; ``transform`` makes them from an image uint8 [H, W, 3],
    whose transparent pixels show ``background``.

    Each image is cropped before the next one is decoded, so that only one large image is in memory. Raises UserError, which
    names each wrong image by its number from 0 on, or says that there are none or too many.
    """
    cells = _flat(cells)
    if not 1 <= len(cells) <= limits.max_images:
        raise UserError(f"{len(cells)} images in a request; allowed: 1 to {limits.max_images}.")
    pixels, faults = [], []
    for number, cell in enumerate(cells):
        try:
            pixels.append(transform(_image(cell, f"image {number}", limits.max_pixels, background)))
        except UserError as error:
            faults.append(str(error).replace("data.max_pixels", "max_pixels"))  # the server's own limit
    if faults:
        more = f"\n... and {len(faults) - SAID} more" if len(faults) > SAID else ""
        raise UserError("\n".join(faults[:SAID]) + more)
    return np.stack(pixels)


def _flat(cells: Sequence[Any]) -> Sequence[Any]:
    """MLflow makes one cell of a list of texts, ``{"inputs": {"image": [...]}}``."""
    if len(cells) == 1 and isinstance(cells[0], list) and cells[0] and all(isinstance(item, str) for item in cells[0]):
        return cells[0]
    return cells


def _image(cell: Any, name: str, max_pixels: int, background: str) -> np.ndarray:
    if isinstance(cell, str):
        return _decoded(cell, name, max_pixels, background)
    if isinstance(cell, bytes):
        check_file_size(len(cell), name, max_pixels)
        return decode(cell, name, max_pixels, background)
    if isinstance(cell, Image.Image):
        return from_pillow(cell, name, max_pixels, background)
    if isinstance(cell, list | np.ndarray):
        return from_array(cell, name, max_pixels)
    found = "nothing" if cell is None or cell != cell else type(cell).__name__  # noqa: PLR0124  # pandas has nan for what is missing
    raise UserError(f"{name}: is {found}, but it must be the base64 text of an image file or an array of pixels, {SHAPES}.")


def cells_of(data: Any) -> list[Any] | None:
    """The images of ``data``, one cell for each; None if it is a table that MLflow supports.

    A NumPy batch [N, H, W, 3], one image [H, W, 3], a list of arrays, of Pillow images, of texts or of bytes.
    """
    if isinstance(data, np.ndarray):
        return list(data) if data.ndim != 3 else [data]
    if isinstance(data, str | bytes | Image.Image):
        return [data]
    if isinstance(data, list | tuple) and data and not any(isinstance(item, Mapping) for item in data):
        return list(data)
    return None


def _decoded(text: str, name: str, max_pixels: int, background: str) -> np.ndarray:
    check_file_size(len(text) // 4 * 3, name, max_pixels)
    data = _DATA_URL.match(text)
    if data and not data["base64"]:
        raise BadImage(name, "no image", "it is a data: URL without ;base64")
    try:
        content = _base64("".join(text[data.end() if data else 0 :].split()))
    except (binascii.Error, ValueError):  # ValueError: letters that are not ASCII
        said = "an address or a path, not the base64 text of the file" if _ADDRESS.search(text) else "not base64 text"
        raise BadImage(name, "no image", f"it is {said}") from None
    return decode(content, name, max_pixels, background)


def _base64(text: str) -> bytes:
    """The bytes of base64 text in either alphabet (RFC 4648, sections 4 and 5), with or without padding."""
    text = text.rstrip("=").translate(_FROM_URL_SAFE)
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
