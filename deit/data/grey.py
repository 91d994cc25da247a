"""Grey images for ``model.in_chans=1``: Pillow's luminance, as timm's ``img_mode="L"``.

Between reading and the last step they have three equal channels, so that every operation on RGB images works on them: each of
these gives equal channels again, with the values that Pillow gives for an image in mode L.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from deit.config.schema import GREY


def as_read(image: np.ndarray, channels: int) -> np.ndarray:
    """The pixels uint8 [H, W, 3] from which a network with so many ``channels`` gets its input; RGB is unchanged."""
    if channels != GREY:
        return image
    luminance = np.asarray(Image.fromarray(np.ascontiguousarray(image)).convert("L"))
    return np.repeat(luminance[:, :, None], 3, axis=2)
