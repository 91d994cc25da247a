"""The pixels of an image file, as torchvision's pil_loader reads them."""

from __future__ import annotations

import numpy as np
from PIL import Image


def pixels_of(file: str) -> np.ndarray:
    """uint8 [H, W, 3]."""
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))
