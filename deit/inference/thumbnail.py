"""A small copy of an image inside a page: a data URI."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

SIDE = 160  # pixels of the longer side, at most; smaller images keep their pixels, enlarged by a whole factor to about half


def data_uri(image: np.ndarray) -> str:
    """``data:image/...`` of an image uint8 [H, W, 3]: a JPEG, or a PNG if it is so small that its pixels count."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    longer = max(picture.size)
    if longer <= SIDE // 2:
        factor = SIDE // longer
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
        kind, options = "PNG", {}
    else:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        kind, options = "JPEG", {"quality": 85}
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
