"""Image files, good and broken: as bytes, and as a data set of class folders."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
from composition import composed
from PIL import Image

from deit.config.schema import RunConfig

BROKEN = ("train/a/03.jpg", "train/a/04.jpg", "train/b/07.png", "val/b/02.jpg", "val/a/05.png")
TRAIN, VAL = 40, 21


def picture(number: int = 0, mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    pixels = np.stack([x * 5 + 11 * number, y * 7, (x + y) * 3], -1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(side: int) -> bytes:
    """A PNG that claims side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    head = side.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


JPEG, PNG = encoded(picture(), "JPEG"), encoded(picture(), "PNG")


def broken_folder(root: Path) -> Path:
    """40 images to train on and 21 to evaluate, of two classes; three of the former and two of the latter are broken."""
    number = 0
    for split, counts in (("train", (20, 20)), ("val", (11, 10))):
        for name, count in zip("ab", counts, strict=True):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                number += 1
                suffix, kind = ((".jpg", "JPEG"), (".png", "PNG"))[i % 7 in (0, 5) and i > 0]
                (root / split / name / f"{i:02}{suffix}").write_bytes(encoded(picture(number), kind))
    for name, content in zip(BROKEN, (JPEG[:-100], b"", b"text", JPEG[:-50], PNG[:60]), strict=True):
        assert (root / name).exists()
        (root / name).write_bytes(content)
    return root


def configured(tree: Path, *changes: str) -> RunConfig:
    return composed(
        "data=imagefolder",
        f"data.root={tree}",
        "model=deit_micro",
        "model.img_size=32",
        "model.patch_size=8",
        "data.batch_size=4",
        "data.eval_batch_size=4",
        "data.num_classes=2",
        "augment.repeats=1",
        "hardware=cpu",
        "tracking=none",
        *changes,
    )
