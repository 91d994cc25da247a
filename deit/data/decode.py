"""From the bytes of an image file to RGB pixels.

Pillow defines the result: ``Image.open(...).convert("RGB")``, ignoring orientation tags and all but the first frame, as
torchvision's pil_loader and timm. Two kinds of images differ, because that call makes them white or black without a warning:
grey values of more than 8 bits are scaled (``_scaled``), and transparent pixels show data.background, unless it is ``none``.
OpenCV decodes grey and RGB JPEG to the same pixels faster, so it decodes JPEG files without unusual parts; Pillow decodes
everything else, and decides what is an image.

A file may come from anybody. Only formats of photographs are read, because Pillow passes some others to external programs (EPS
to Ghostscript). Sizes are checked in the header, before memory is allocated for the pixels.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from deit.data.crop import Choose, part, whole
from deit.errors import BadImage, UserError
from deit.notes import note

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
BYTES_A_PIXEL = 8  # 16-bit RGBA without compression, the maximum for a file
LONGEST = 1000  # maximum aspect ratio; an evaluation resizes the short side, and the long one grows with it

MARGIN = 16  # extra rows below the needed ones, which the decoder's interpolation of colours reads

# data.max_pixels replaces Pillow's own limits.
Image.MAX_IMAGE_PIXELS = None

# JPEG markers.
_START, _END_OF_IMAGE, _SCAN, _QUANTIZATION, _APP2, _APP13 = b"\xff\xd8", 0xD9, 0xDA, 0xDB, 0xE2, 0xED
_PROGRESSIVE = 0xC2
_FRAMES = (0xC0, 0xC1, _PROGRESSIVE)  # baseline, extended and progressive, all with Huffman codes
# Huffman and quantisation tables, restart interval, comment, application segments.
_SEGMENTS = frozenset((0xC4, _QUANTIZATION, 0xDD, 0xFE, *range(0xE0, 0xF0)))
_BETWEEN_SCANS = (0xC4, _SCAN, _QUANTIZATION, 0xDD)
_IS_MARKER = np.ones(256, bool)  # by the byte after 0xff: not an escaped byte, a restart or a fill byte
_IS_MARKER[[0x00, *range(0xD0, 0xD8), 0xFF]] = False
# Bytes that Pillow reads of a segment that begins so; it rejects a file with a shorter one.
_READ = {b"JFIF": 7, b"Adobe": 7, b"ICC_PROFILE\0": 14}


class _Jpeg(NamedTuple):
    width: int
    height: int
    frame: int  # where the frame's segment begins
    rowwise: bool  # one scan, with the rows in order
    scan: int  # where the data of the first scan begin


class Decoded(NamedTuple):
    """``pixels`` uint8 [height, width, 3]; ``treated`` is one of ``errors.TREATED``, None if they are those of the file."""

    pixels: np.ndarray
    treated: str | None = None


def decode(data: bytes, name: str, max_pixels: int, background: str, choose: Choose = whole) -> np.ndarray:
    """Decode the part of the file ``name`` that ``choose`` selects to uint8 [height, width, 3]; it may be called repeatedly.

    ``background`` is data.background. Raises BadImage (exit code 1) with file and reason if it is not a complete image of at
    most ``max_pixels``, UserError if memory is exhausted.
    """
    return decode_noting(data, name, max_pixels, background, choose).pixels


def decode_noting(data: bytes, name: str, max_pixels: int, background: str, choose: Choose = whole) -> Decoded:
    """As ``decode``, with what was done to the pixels.

    Raises BadImage (exit code 1) with file and reason if it is not a complete image of at most ``max_pixels``, UserError if
    memory is exhausted.
    """
    jpeg = _plain_jpeg(data)
    if jpeg is not None:
        check_size(jpeg.width, jpeg.height, name, max_pixels)
        if _is_whole(data, jpeg.scan):
            box = choose(jpeg.height, jpeg.width)
            if (found := _upper_rows(data, jpeg, box.top + box.height)) is not None:
                return Decoded(part(found, box))
    image = _by_pillow(data, name, max_pixels, background)
    return Decoded(part(image.pixels, choose(*image.pixels.shape[:2])), image.treated)


def decode_pillow(data: bytes, name: str, max_pixels: int, background: str) -> np.ndarray:
    """As ``decode``, with Pillow alone: the reference."""
    return _by_pillow(data, name, max_pixels, background).pixels


def _by_pillow(data: bytes, name: str, max_pixels: int, background: str) -> Decoded:
    if not data:
        raise BadImage(name, "empty", "the file is empty")
    _file.name = name  # for Pillow's warnings
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        check_size(image.width, image.height, name, max_pixels)
        return to_rgb(image, name, background)
    except BadImage:
        raise
    except MemoryError:  # of the machine, not of the file
        raise UserError(
            f"{name}: not enough memory to decode it; lower data.workers or data.max_pixels.", exit_code=1
        ) from None
    except UnidentifiedImageError:
        kind, reason = "no image", "no known format"
    except Exception as error:  # Pillow raises nearly anything for damaged bytes
        kind, reason = "damaged", str(error) or type(error).__name__
    finally:
        _file.name = None
    raise BadImage(name, kind, reason)


def to_rgb(image: Image.Image, name: str, background: str) -> Decoded:
    """The pixels of an image of Pillow, read only now. Raises BadImage for values of an unknown range, and Pillow's errors."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _scaled(image, name)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            if background != "none":
                rgba = Image.alpha_composite(Image.new("RGBA", image.size, background), rgba)
            return Decoded(np.array(rgba.convert("RGB")), "transparent")
        image = rgba
    return Decoded(np.array(image.convert("RGB")))


def _scaled(image: Image.Image, name: str) -> Decoded:
    """Grey values of more than 8 bits. Raises BadImage if nothing says which value is white.

    16 bits: 65535 is white. 32-bit integers: the same where the file is a PNG or PNM, which have no more than 16 bits, or where
    the values are from 0 to 65535 and not all below 256. Floats: 1 is white where they are from 0 to 1, 255 where they are from
    0 to 255.
    """
    values = np.array(image)
    if values.dtype.kind in "iu":
        values = values.astype(np.int64)
    least, most = values.min(), values.max()
    if image.mode == "F":
        if not (least >= 0 and most <= 255):  # also where it is no number
            raise BadImage(name, "unknown range", f"floats from {least:g} to {most:g}; allowed: 0 to 1, or 0 to 255")
        grey, treated = values.astype(np.float64) * (255 if most <= 1 else 1), "float grey"
    else:
        known = image.mode != "I" or image.format in ("PNG", "PPM")
        if not known and (least < 0 or not 255 < most <= 65535):
            raise BadImage(name, "unknown range", f"32-bit integers from {least} to {most}; save them as 8 or 16 bits")
        grey, treated = values / 257, "16-bit grey"
    pixels = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return Decoded(np.repeat(pixels[:, :, None], 3, axis=2), treated)


_file = threading.local()
_show_other = warnings.showwarning


def _show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
    """A warning while an image is decoded gets its name; Python's filter lets the first of each text through."""
    if getattr(_file, "name", None) is None:
        _show_other(message, category, *place, **more)
    else:
        note(f"{_file.name}: {message}")


warnings.showwarning = _show


def read_file(path: str, max_pixels: int) -> bytes:
    """The bytes of an image file. Raises BadImage as ``check_file_size``, UserError (exit code 1) if it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            check_file_size(size, path, max_pixels)
            content = os.read(descriptor, size)
            while len(content) < size and (more := os.read(descriptor, size - len(content))):
                content += more
            return content
        finally:
            os.close(descriptor)
    except OSError as error:
        # A problem of the disk or the network, not of the image, so it is never left out.
        raise UserError(f"{path}: cannot be read ({error.strerror}).", exit_code=1) from error


def check_file_size(size: int, name: str, max_pixels: int) -> None:
    """Raise BadImage if a file of ``size`` bytes is larger than any image of ``max_pixels``, before it is read."""
    most = BYTES_A_PIXEL * max_pixels + (1 << 20)  # headers, colour profiles, thumbnails
    if size > most:
        raise BadImage(name, "too large", f"a file of {size:,} bytes, but data.max_pixels={max_pixels} needs at most {most:,}")


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Raise BadImage if an image of this size has more than ``max_pixels``, or an extreme aspect ratio."""
    if width * height > max_pixels:
        raise BadImage(
            name,
            "too large",
            f"{width} x {height} are {width * height:,} pixels, more than data.max_pixels={max_pixels}",
        )
    if max(width, height) > LONGEST * min(width, height):
        raise BadImage(name, "too long", f"{width} x {height}: one side is more than {LONGEST} times the other")


class _ErrorOutput:
    """libjpeg's error output about bytes that were not read, which can be silenced after ``take``."""

    def __init__(self) -> None:
        self.own: int | None = None
        self.nowhere = -1

    def take(self) -> None:
        self.own, self.nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


_error_output = _ErrorOutput()


def decode_no_more_than_needed() -> None:
    """From now on, skip the rows of a JPEG below the needed part.

    Only for processes whose single thread decodes: nothing else may write to stderr during a decode.
    """
    _error_output.take()


def _upper_rows(data: bytes, jpeg: _Jpeg, rows: int) -> np.ndarray | None:
    """At least the upper ``rows`` of an image; None if OpenCV cannot read it."""
    height = rows + MARGIN
    if _error_output.own is None or not jpeg.rowwise or height >= jpeg.height:
        return _opencv(data)
    shortened = bytearray(data)
    shortened[jpeg.frame + 5 : jpeg.frame + 7] = height.to_bytes(2, "big")
    os.dup2(_error_output.nowhere, 2)
    try:
        return _opencv(shortened)
    finally:
        os.dup2(_error_output.own, 2)


def _opencv(data: bytes | bytearray) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # for example, an image beyond its own size limit
        return None


def _plain_jpeg(data: bytes) -> _Jpeg | None:
    """The headers of a grey or RGB JPEG of which Pillow accepts every segment; None for any other file.

    It reads no tables: the decoder does that. Pillow decides about anything unusual.
    """
    if data[:2] != _START:
        return None
    place, length, found, frame = 2, len(data), None, 0
    while place + 4 <= length and data[place] == 0xFF:
        marker = data[place + 1]
        end = place + 2 + (data[place + 2] << 8 | data[place + 3])
        content = place + 4
        if end < content or end > length:
            return None
        if marker == _SCAN:
            all_components = data[content : content + 1] == data[frame + 9 : frame + 10]
            return None if found is None else _Jpeg(*found, frame, data[frame + 1] != _PROGRESSIVE and all_components, end)
        if marker in _FRAMES:
            components = data[content + 5] if end >= content + 6 else 0
            if found is not None or data[content] != 8 or components not in (1, 3) or end != content + 6 + 3 * components:
                return None
            found = data[content + 3] << 8 | data[content + 4], data[content + 1] << 8 | data[content + 2]
            if not all(found):
                return None
            frame = place
        elif marker not in _SEGMENTS or not _is_usual(data, marker, content, end):
            return None
        place = end
    return None


def _is_usual(data: bytes, marker: int, content: int, end: int) -> bool:
    """Whether Pillow certainly accepts a segment."""
    if marker == _QUANTIZATION:
        while content < end:
            content += 65 if data[content] < 16 else 129
        return content == end
    if marker >= 0xE0 and marker != 0xFE:
        if marker == _APP13 or (marker == _APP2 and data.startswith(b"MPF\0", content)):
            return False  # Photoshop's blocks, and several pictures in one file
        return all(end - content >= least for start, least in _READ.items() if data.startswith(start, content))
    return True


def _is_whole(data: bytes, scan: int) -> bool:
    """Whether the scans of a JPEG, the first of which begins at ``scan``, end correctly.

    OpenCV stops at the last row, and so accepts some damaged files that Pillow rejects.
    """
    values = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(values[scan:-1] == 0xFF) + scan
    for place in places[_IS_MARKER[values[places + 1]]].tolist():
        if place < scan:
            continue  # inside a segment
        marker = data[place + 1]
        if marker == _END_OF_IMAGE:
            return True
        if marker not in _BETWEEN_SCANS:
            return False
        scan = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return False
