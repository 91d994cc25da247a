"""Images that a caller gives as pixels or as Pillow's, instead of files: checked, and as RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from deit.data.decode import check_size, to_rgb
from deit.errors import BadImage, UserError

SHAPES = "RGB [H, W, 3] or grey [H, W]"


def from_array(given: Any, name: str, max_pixels: int) -> np.ndarray:
    """The pixels of an array or of nested lists, uint8 [H, W, 3]. Raises UserError for another shape, type or range."""
    try:
        array = np.asarray(given)
    except (ValueError, OverflowError):
        raise UserError(f"{name}: its rows differ in length or depth; allowed: {SHAPES}.") from None
    found = f"{name}: is {array.dtype} {list(array.shape)}"
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise UserError(f"{found}; allowed: {SHAPES}.")
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(f"{found}, but pixels are whole numbers from 0 to 255.")
    if array.min() < 0 or array.max() > 255:
        raise UserError(f"{name}: contains numbers from {array.min()} to {array.max()}, but pixels are from 0 to 255.")
    check_size(array.shape[1], array.shape[0], name, max_pixels)
    return np.ascontiguousarray(array.astype(np.uint8))


def from_pillow(image: Image.Image, name: str, max_pixels: int, background: str) -> np.ndarray:
    """The pixels of an image of Pillow, uint8 [H, W, 3]; transparent ones show ``background``. Raises BadImage."""
    check_size(image.width, image.height, name, max_pixels)
    try:
        return to_rgb(image, name, background).pixels
    except (OSError, ValueError) as error:  # it may be read only now, from a damaged or closed file
        raise BadImage(name, "damaged", str(error)) from None
