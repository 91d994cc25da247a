"""From the bytes of an image file to RGB pixels.

Pillow defines the result: what ``Image.open(...).convert("RGB")`` gives, orientation tags ignored, as
torchvision's pil_loader does. OpenCV decodes JPEG to the same pixels faster (a CMYK file may differ by one
level); other formats and whatever it refuses go to Pillow, which has the last word.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from deit.errors import UserError

JPEG_MAGIC = b"\xff\xd8\xff"


def decode(data: bytes, decoder: str, name: str) -> np.ndarray:
    """Decode the file ``name`` to uint8 [H, W, 3] with ``opencv`` or ``pil``.

    Raises UserError (exit code 1) with the file and the reason where it is no whole image.
    """
    if decoder == "opencv" and data.startswith(JPEG_MAGIC):
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:  # such as an image beyond its limit of size
            image = None
        if image is not None:
            return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, image)
    try:
        return np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    except UnidentifiedImageError:
        reason = "no known format" if data else "the file is empty"
    except Exception as error:  # damaged bytes make Pillow's readers raise nearly anything
        reason = str(error) or type(error).__name__
    raise UserError(f"{name}: not readable as an image ({reason}).", exit_code=1)
