"""Modes of images: as RGB like Pillow, 16 bits and floats scaled, transparency on the background, and unreadable files."""

import io
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from deit import notes
from deit.data import decode as decoding
from deit.data.decode import decode, decode_noting, decode_pillow
from deit.errors import BadImage, UserError

MOST = 10**6  # pixels


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(mode="RGB", size=(40, 30)) -> Image.Image:
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return Image.fromarray(np.stack([x * 5, y * 7, (x + y) * 3], -1).astype(np.uint8)).convert(mode)


def test_modes_become_rgb_as_in_pillow():
    colour = picture()
    files = {
        "grey": encoded(picture("L"), "JPEG"),
        "grey png": encoded(picture("L"), "PNG"),
        "palette": encoded(colour.convert("P"), "PNG"),
        "alpha": encoded(picture("RGBA"), "PNG"),
        "progressive": encoded(colour, "JPEG", progressive=True, quality=95),
    }
    turned = Image.Exif()
    turned[0x0112] = 6  # "rotate by 90 degrees", which the references do not do
    files["orientation"] = encoded(colour, "JPEG", exif=turned)
    for name, content in files.items():
        expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        assert expected.shape == (30, 40, 3)
        for read in (decode, decode_pillow):
            np.testing.assert_array_equal(read(content, name, MOST, "none"), expected)
    cmyk = encoded(picture("CMYK"), "JPEG")
    np.testing.assert_array_equal(decode(cmyk, "cmyk", MOST, "none"), decode_pillow(cmyk, "cmyk", MOST, "none"))


GREY16 = np.array([[0, 128 * 257, 65535]], np.uint16)


@pytest.mark.parametrize(
    ("image", "format", "treated"),
    [
        (Image.fromarray(GREY16), "PNG", "16-bit grey"),
        (Image.fromarray(GREY16), "TIFF", "16-bit grey"),
        (Image.fromarray(GREY16.astype(">u2")), "TIFF", "16-bit grey"),
        (Image.fromarray(GREY16), "PPM", "16-bit grey"),
        (Image.fromarray(GREY16.astype(np.int32)), "TIFF", "16-bit grey"),
        (Image.fromarray(GREY16.astype(np.float32) / 65535), "TIFF", "float grey"),
        (Image.fromarray(GREY16.astype(np.float32) / 257), "TIFF", "float grey"),
        (Image.fromarray((GREY16 // 257).astype(np.uint8)), "PNG", None),
    ],
)
def test_values_of_more_than_eight_bits_are_scaled(image, format, treated):
    """timm's convert("RGB") makes them white, or black."""
    found = decode_noting(encoded(image, format), "x", MOST, "white")
    assert found.treated == treated and found.pixels.tolist() == [[[0] * 3, [128] * 3, [255] * 3]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[0, 200]], np.int32), "32-bit integers from 0 to 200"),
        (np.array([[0, 70000]], np.int32), "32-bit integers from 0 to 70000"),
        (np.array([[-1, 3000]], np.int32), "32-bit integers from -1"),
        (np.array([[0, 300]], np.float32), "floats from 0 to 300"),
        (np.array([[-0.5, 1]], np.float32), "floats from -0.5 to 1"),
        (np.array([[np.nan, 1]], np.float32), "floats from nan"),
    ],
)
def test_unknown_value_range_is_rejected(values, said):
    with pytest.raises(BadImage, match=said) as caught:
        decode(encoded(Image.fromarray(values), "TIFF"), "x.tif", MOST, "white")
    assert caught.value.kind == "unknown range"


def transparent_files():
    """The same three pixels, black, half transparent black, and transparent black, in each way that a file can store them."""
    rgba = np.array([[[0, 0, 0, 255], [0, 0, 0, 128], [0, 0, 0, 0]]], np.uint8)
    image = Image.fromarray(rgba)
    palette = Image.new("P", (3, 1))
    palette.putpalette([0] * 9)
    palette.putdata([0, 1, 2])
    return {
        "rgba": encoded(image, "PNG"),
        "grey": encoded(image.convert("LA"), "PNG"),
        "palette": encoded(palette, "PNG", transparency=bytes([255, 128, 0])),
        "webp": encoded(image, "WEBP", lossless=True, exact=True),
        "tiff": encoded(image, "TIFF"),
        "animation": encoded(image, "PNG", save_all=True, append_images=[picture("RGBA").resize((3, 1))]),
    }


@pytest.mark.parametrize("name", transparent_files())
def test_transparent_pixels_show_the_background(name):
    content = transparent_files()[name]
    for background, expected in (("white", [0, 127, 255]), ("black", [0, 0, 0]), ("none", [0, 0, 0])):
        found = decode_noting(content, name, MOST, background)
        assert found.pixels[0, :, 1].tolist() == expected
        assert found.treated == "transparent"


def test_one_transparent_colour_and_an_opaque_alpha():
    gif = Image.new("P", (2, 1))
    gif.putpalette([0, 0, 0, 0, 255, 0])
    gif.putdata([0, 1])
    for content in (encoded(gif, "GIF", transparency=0), encoded(gif.convert("RGB"), "PNG", transparency=(0, 0, 0))):
        found = decode_noting(content, "x", MOST, "white")
        assert (found.pixels.tolist(), found.treated) == ([[[255, 255, 255], [0, 255, 0]]], "transparent")
    opaque = decode_noting(encoded(picture("RGBA"), "PNG"), "x", MOST, "white")
    np.testing.assert_array_equal(opaque.pixels, np.asarray(picture("RGBA").convert("RGB")))
    assert opaque.treated is None


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_other_modes_equal_pillow(mode):
    content = encoded(picture().convert(mode), "JPEG" if mode in ("CMYK", "YCbCr") else "TIFF")
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(decode_pillow(content, "x", MOST, "white"), expected)
    deep = (np.asarray(picture()).astype(np.uint16) * 257)[..., ::-1]
    _, png = cv2.imencode(".png", deep)  # 16-bit colours, which Pillow reads as 8
    np.testing.assert_array_equal(decode(png.tobytes(), "x", MOST, "white"), np.asarray(picture()))


def test_warnings_of_pillow_name_the_file(capsys, monkeypatch):
    monkeypatch.setattr(notes, "_said", set())
    entry = (262).to_bytes(2, "little") + (3).to_bytes(2, "little")  # the kind of colours, a short: one, not two
    content = encoded(picture("L"), "TIFF")
    assert entry + (1).to_bytes(4, "little") in content
    content = content.replace(entry + (1).to_bytes(4, "little"), entry + (2).to_bytes(4, "little"))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = decoding._show
        decode(content, "pics/p.tif", MOST, "none")
        decode(content, "pics/q.tif", MOST, "none")
    said = capsys.readouterr().err
    assert said.startswith("note: pics/p.tif: Metadata Warning, tag 262") and len(said.splitlines()) == 1


@pytest.mark.parametrize("read", [decode, decode_pillow])
def test_unreadable_images_are_reported(read):
    jpeg, png = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
    cases = {
        jpeg[:-100]: "image file is truncated",
        jpeg[:100]: "Truncated",
        png[: len(png) // 2]: "truncated",
        b"": "the file is empty",
        b"<html>not found</html>": "no known format",
    }
    for content, reason in cases.items():
        with pytest.raises(UserError, match=rf"^pics/a\.jpg: not readable as an image \(.*{reason}.*\)\.$") as caught:
            read(content, "pics/a.jpg", MOST, "white")
        assert caught.value.exit_code == 1
