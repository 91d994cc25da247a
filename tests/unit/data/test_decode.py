"""Decoding: formats and modes as in the reference; both decoders reject the same files."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from broken_images import JPEG, PNG, bomb, encoded, picture
from command import ROOT
from PIL import Image

from deit.data.decode import FORMATS, decode, decode_pillow
from deit.errors import BAD, BadImage

MOST = 10**6  # pixels
TRANSPARENT = picture(mode="P")
TRANSPARENT.info["transparency"] = bytes(range(256))
TURNED = Image.Exif()
TURNED[0x0112] = 6  # rotate by 90 degrees
GOOD = {
    "jpeg": JPEG,
    "progressive": encoded(picture(), "JPEG", progressive=True),
    "restarts": encoded(picture(), "JPEG", restart_marker_blocks=2),
    "grey jpeg": encoded(picture(mode="L"), "JPEG"),
    "cmyk jpeg": encoded(picture(mode="CMYK"), "JPEG"),
    "turned jpeg": encoded(picture(), "JPEG", exif=TURNED),
    "jpeg with a tail": JPEG + b"\0 trailing bytes",
    "png": PNG,
    "grey png": encoded(picture(mode="L"), "PNG"),
    "grey and alpha png": encoded(picture(mode="LA"), "PNG"),
    "rgba png": encoded(picture(mode="RGBA"), "PNG"),
    "palette png": encoded(picture(mode="P"), "PNG"),
    "transparent palette png": encoded(TRANSPARENT, "PNG"),
    "bilevel png": encoded(picture(mode="1"), "PNG"),
    "cmyk tiff": encoded(picture(mode="CMYK"), "TIFF"),
    "gif": encoded(picture(), "GIF", save_all=True, append_images=[picture(9)]),
    "webp": encoded(picture(), "WEBP", save_all=True, append_images=[picture(9)], lossless=True),
    "ppm": encoded(picture(), "PPM"),
    "bmp": encoded(picture(), "BMP"),
}
MARKED = bytearray(JPEG)
MARKED[-2:] = b"\xff\x14"  # OpenCV alone would take it: all its rows are there
WRONG = {
    "nothing": (b"", "empty"),
    "text": (b"<html>not found</html>", "no image"),
    "zeros": (bytes(1000), "no image"),
    "program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image"),  # Pillow would call Ghostscript
    "cut jpeg": (JPEG[:-100], "damaged"),
    "head of a jpeg": (JPEG[:200], "damaged"),
    "odd end of a jpeg": (bytes(MARKED), "damaged"),
    "cut png": (PNG[:-60], "damaged"),
    "cut gif": (GOOD["gif"][:900], "damaged"),
    "bomb": (bomb(30_000), "too large"),
    "large jpeg": (encoded(picture(size=(2000, 501)), "JPEG"), "too large"),
    "strip": (encoded(picture(size=(2001, 2)), "JPEG"), "too long"),
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("name", GOOD)
def test_decoders_read_modes_and_formats_as_the_reference(name: str) -> None:
    """torchvision's pil_loader, which timm's data sets use as well: convert("RGB"), no rotation, the first frame."""
    expected = np.asarray(Image.open(io.BytesIO(GOOD[name])).convert("RGB"))
    assert expected.shape == (30, 40, 3) and expected.std() > 0
    for decoder in (decode, decode_pillow):
        np.testing.assert_array_equal(decoder(GOOD[name], name, MOST, "none"), expected)


@pytest.mark.parametrize("name", WRONG)
def test_both_decoders_reject_bad_files_for_the_same_reason(name: str) -> None:
    content, kind = WRONG[name]
    for decoder in (decode, decode_pillow):
        with pytest.raises(BadImage, match=r"^a/b\.jpg: not readable as an image \(.+\)\.$") as caught:
            decoder(content, "a/b.jpg", MOST, "none")
        assert caught.value.kind == kind and kind in BAD
        assert "Ghostscript" not in str(caught.value) and "EPS" not in FORMATS


def test_both_decoders_agree_on_randomly_damaged_files() -> None:
    """Bytes changed, cut out and cut off, at random: accepted by both with the same pixels, or by none."""
    rng = np.random.default_rng(0)
    accepted = refused = 0
    for name in ("jpeg", "progressive", "restarts", "grey jpeg", "cmyk jpeg"):
        for trial in range(400):
            content = bytearray(GOOD[name])
            place = int(rng.integers(3, len(content)))
            if trial % 4 == 0:
                del content[place:]
            elif trial % 4 == 1:
                del content[place : place + int(rng.integers(1, 100))]
            else:
                content[place] = rng.integers(0, 256) if trial % 4 == 2 else 255
            found = []
            for decoder in (decode, decode_pillow):
                try:
                    found.append(decoder(bytes(content), name, MOST, "none"))
                except BadImage as bad:
                    found.append(bad.kind)
            if isinstance(found[0], str) or isinstance(found[1], str):
                refused += 1
                assert found[0] == found[1]
            else:
                accepted += 1
                np.testing.assert_array_equal(found[0], found[1])
    assert min(accepted, refused) > 300


def test_decompression_bomb_uses_no_memory(tmp_path: Path) -> None:
    """30,000 x 30,000 pixels are 2.7 GB, for which the address space has no room."""
    (tmp_path / "bomb.png").write_bytes(bomb(30_000))
    code = (
        "import resource, sys; from deit.data.decode import decode, decode_pillow; from deit.errors import BadImage\n"
        "now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (now + (200 << 20),) * 2)\n"
        "for decoder in (decode, decode_pillow):\n"
        "    try: decoder(open(sys.argv[1], 'rb').read(), 'x', 178956970, 'none')\n"
        "    except BadImage as bad: print(bad)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "bomb.png")], capture_output=True, text=True, cwd=ROOT, timeout=600
    )
    assert ended.stdout.count("30000 x 30000 are 900,000,000 pixels, more than data.max_pixels=178956970") == 2, ended.stderr
