"""How far augment.backend=opencv is from Pillow, operation by operation: the table of docs/augmentation.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pytest
from fidelity import ROOT
from sklearn.datasets import load_sample_image

from deit.data.crop import Box
from deit.data.operations import ARGUMENTS, Operation, argument
from deit.data.ops_opencv import OpencvOps
from deit.data.ops_pil import PilOps

DOCUMENT = ROOT / "docs" / "augmentation.md"
TABLE = re.compile(r"(?<=<!-- written by `make fidelity` -->\n).*(?=<!-- end -->)", re.DOTALL)
HEADER = "| operation | mean difference | largest difference |\n|---|---|---|\n"
FILL = (124, 116, 104)
LEVELS = (0.0, 1.0, 3.0, 5.0, 7.0, 9.0, 10.0)
SIDE = 224
CROPS = {
    "crop that shrinks": [Box(0, 0, 427, 427), Box(10, 100, 300, 400), Box(20, 30, 224, 300)],
    "crop that enlarges": [Box(100, 100, 100, 130), Box(50, 60, 60, 50), Box(10, 300, 200, 180)],
    "crop that does one each way": [Box(100, 100, 250, 190), Box(0, 0, 200, 267)],
}
# No regenerated table may go beyond these: (mean, largest) of what is a table of levels, of what sums, of what interpolates.
EXACT = ("AutoContrast", "Equalize", "Invert", "Posterize", "Solarize", "SolarizeAdd", "Brightness")
SUMS = ("Color", "Contrast", "Sharpness", "Desaturate", "ShearX", "ShearY", "TranslateX", "TranslateY")
BOUNDS = dict.fromkeys(EXACT, (0, 0)) | dict.fromkeys(SUMS, (0.1, 1)) | {"GaussianBlur": (0.6, 4)}
INTERPOLATED = (4, 100)


def photographs() -> list[np.ndarray]:
    """uint8 [427, 640, 3] each."""
    return [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]


def differences(interpolation: str) -> Iterator[tuple[str, np.ndarray]]:
    """Name of the operation, absolute difference in levels, for each way of applying it."""
    fast, exact = OpencvOps(interpolation, FILL), PilOps(interpolation, FILL)

    def compared(image: np.ndarray, do: Callable) -> np.ndarray:
        ours, pil = (ops.finish(do(ops, ops.start(image))) for ops in (fast, exact))
        return np.abs(ours.astype(int) - pil)

    for photograph in photographs():
        image = np.ascontiguousarray(photograph[100 : 100 + SIDE, 200 : 200 + SIDE])
        for name in ARGUMENTS:
            # Signs, inc0 and inc1 often make the same argument.
            for given in sorted({argument(name, *row) for row in product(LEVELS, (1, -1), (False, True))}):
                yield name, compared(image, lambda ops, x, name=name, given=given: ops.apply(x, Operation(name, given)))
        for name, boxes in CROPS.items():
            for box in boxes:
                yield name, compared(photograph, lambda ops, x, box=box: ops.crop(x, box, (SIDE, SIDE)))


def measured() -> dict[str, tuple[float, int]]:
    """Mean and largest difference of each operation, bicubic, the worst of its arguments."""
    found: dict[str, tuple[float, int]] = {}
    for name, apart in differences("bicubic"):
        mean, most = found.get(name, (0.0, 0))
        found[name] = (max(mean, float(apart.mean())), max(most, int(apart.max())))
    return found


def test_backends_differ_as_documented(request: pytest.FixtureRequest) -> None:
    found = measured()
    for name, (mean, most) in found.items():
        bound = BOUNDS.get(name, INTERPOLATED)
        assert mean <= bound[0] and most <= bound[1], f"{name}: {mean:.2f}, {most}"
    text = DOCUMENT.read_text(encoding="utf-8")
    if request.config.getoption("--write-fidelity"):
        rows = "".join(f"| {name} | {mean:.2f} | {most} |\n" for name, (mean, most) in found.items())
        text = TABLE.sub(lambda _: HEADER + rows, text)
        DOCUMENT.write_text(text, encoding="utf-8")
    (table,) = TABLE.findall(text)
    documented = {name: (float(mean), int(most)) for name, mean, most in re.findall(r"\| (.+) \| ([\d.]+) \| (\d+) \|", table)}
    assert list(documented) == list(found), "docs/augmentation.md has other operations: run make fidelity"
    for name, (mean, most) in found.items():
        # Another release of OpenCV may round otherwise; more than that is another operation.
        assert mean <= documented[name][0] * 1.1 + 0.02 and most <= documented[name][1] * 1.1 + 1, f"{name}: {mean:.2f}, {most}"


def test_bilinear_is_as_near() -> None:
    for name, apart in differences("bilinear"):
        bound = BOUNDS.get(name, INTERPOLATED)
        assert apart.mean() <= bound[0] and apart.max() <= bound[1], f"{name}: {apart.mean():.2f}, {apart.max()}"
