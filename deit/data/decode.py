"""From the bytes of an image file to RGB pixels.

Pillow defines the result: what ``Image.open(...).convert("RGB")`` gives, orientation tags ignored and of an animation the
first frame, as torchvision's pil_loader does. OpenCV decodes grey and RGB JPEG to the same pixels faster. What is an image
is the same for both: Pillow reads every header, and decides on every file that is not plain in all its parts.

A file may come from anybody. Only the formats of photographs are read: Pillow would hand some others to programs of their
own (EPS to Ghostscript). Sizes are those of the header, and are judged before memory is taken for the pixels.
"""

from __future__ import annotations

import io
import re

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from deit.errors import BadImage, UserError

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
BYTES_A_PIXEL = 8  # of 16-bit RGBA without compression, the most that a file needs
LONGEST = 1000  # times the width; an evaluation resizes the short side, and the long one grows with it

# Pillow's own limit would warn, then refuse, at numbers of its own; data.max_pixels takes its place.
Image.MAX_IMAGE_PIXELS = None

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # of JPEG: not an escaped byte, a restart or a fill byte
_BETWEEN_SCANS = b"\xc4\xda\xdb\xdd"  # Huffman tables, the next scan, quantisation tables, restart interval
_END_OF_IMAGE = 0xD9


def decode(data: bytes, decoder: str, name: str, max_pixels: int) -> np.ndarray:
    """Decode the file ``name`` to uint8 [H, W, 3] with ``opencv`` or ``pil``.

    Raises BadImage (exit code 1) with the file and the reason where it is no whole image of at most ``max_pixels``, UserError
    where memory is lacking.
    """
    if not data:
        raise BadImage(name, "empty", "the file is empty")
    try:
        stream = io.BytesIO(data)
        image = Image.open(stream, formats=FORMATS)
        check_size(image.width, image.height, name, max_pixels)
        plain_jpeg = image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB")
        if decoder == "opencv" and plain_jpeg and _is_whole(data, stream.tell()):
            found = _opencv(data)
            if found is not None:
                return found
        return np.array(image.convert("RGB"))
    except BadImage:
        raise
    except MemoryError:  # of the machine, not of the file
        raise UserError(
            f"{name}: no memory is left to decode it; lower data.workers or data.max_pixels.", exit_code=1
        ) from None
    except UnidentifiedImageError:
        kind, reason = "no image", "no known format"
    except Exception as error:  # damaged bytes make Pillow's readers raise nearly anything
        kind, reason = "damaged", str(error) or type(error).__name__
    raise BadImage(name, kind, reason)


def check_file_size(size: int, name: str, max_pixels: int) -> None:
    """Raise BadImage where a file of ``size`` bytes is larger than any image of ``max_pixels``, before it is read."""
    most = BYTES_A_PIXEL * max_pixels + (1 << 20)  # headers, colour profiles, thumbnails
    if size > most:
        raise BadImage(name, "too large", f"a file of {size:,} bytes, but data.max_pixels={max_pixels} needs at most {most:,}")


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Raise BadImage where an image of this size has more than ``max_pixels``, or is much longer than wide."""
    if width * height > max_pixels:
        raise BadImage(
            name,
            "too large",
            f"{width} x {height} are {width * height:,} pixels, more than data.max_pixels={max_pixels}",
        )
    if max(width, height) > LONGEST * min(width, height):
        raise BadImage(name, "too long", f"{width} x {height}: one side is more than {LONGEST} times the other")


def _opencv(data: bytes) -> np.ndarray | None:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # such as an image beyond its own limit of size
        return None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB, image)


def _is_whole(data: bytes, scan: int) -> bool:
    """Whether the scans of a JPEG, the first of which begins at ``scan``, end as they should.

    OpenCV stops reading at the last row, and so takes some damaged files that Pillow refuses.
    """
    while found := _MARKER.search(data, scan):
        marker = data[found.end() - 1]
        if marker == _END_OF_IMAGE:
            return True
        if marker not in _BETWEEN_SCANS:
            return False
        scan = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return False
