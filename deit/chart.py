"""Charts as PNG files: axes with ticks, bars, lines and texts, drawn with Pillow.

matplotlib takes half a second to import and as long for a picture, and every training draws five.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

PAPER, INK, FAINT = (255, 255, 255), (24, 28, 36), (228, 230, 235)
TEXT, TITLE = 16, 19  # font sizes in pixels
TICK, GAP = 6, 5  # pixels: the length of a tick, and between it and its label
FINER = 4  # lines are drawn so many times larger and scaled down, which smooths them


class Chart:
    """A white picture of ``width`` x ``height`` pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), PAPER)
        self._pen = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, text: str, anchor: str, *, size: int = TEXT, colour: Colour = INK) -> None:
        """Write at a point; ``anchor`` says which of the text's points that is, as Pillow names them: "mm" is the middle."""
        self._pen.text((x, y), text, colour, font(size), anchor=anchor)

    def title(self, x: float, y: float, text: str) -> None:
        """Write a title above ``y``, with its middle at ``x`` or as near to it as the borders allow."""
        half = length([text], TITLE) / 2
        self.text(max(half, min(x, self.image.width - half)), y, text, "mb", size=TITLE)

    def upright(self, x: float, y: float, text: str, anchor: str = "m", *, size: int = TEXT) -> None:
        """Write upwards in a column around ``x``; at ``y`` is its middle ("m") or its upper end ("t")."""
        width, height = round(font(size).getlength(text)) + 2, 2 * size
        mask = Image.new("L", (width, height))
        ImageDraw.Draw(mask).text((width / 2, height / 2), text, 255, font(size), anchor="mm")
        mask = mask.rotate(90, expand=True)
        top = y if anchor == "t" else y - width / 2
        self.image.paste(INK, (round(x - height / 2), round(top)), mask)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour, opacity: float = 1.0) -> None:
        """Fill a rectangle; its right and lower edges do not belong to it."""
        box = (round(left), round(top), round(right), round(bottom))
        if box[0] < box[2] and box[1] < box[3]:
            self.image.paste(colour, box, Image.new("L", (box[2] - box[0], box[3] - box[1]), round(255 * opacity)))

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float) -> None:
        """A smooth line through points, in pixels."""
        left, top = (math.floor(min(point[axis] for point in points) - width) for axis in (0, 1))
        right, bottom = (math.ceil(max(point[axis] for point in points) + width) for axis in (0, 1))
        mask = Image.new("L", ((right - left) * FINER, (bottom - top) * FINER))
        finer = [((x - left) * FINER, (y - top) * FINER) for x, y in points]
        ImageDraw.Draw(mask).line(finer, 255, round(width * FINER), joint="curve")
        self.image.paste(colour, (left, top), mask.reduce(FINER))

    def save(self, path: Path) -> None:
        """Write the PNG; equal charts are equal files."""
        self.image.save(path, format="PNG")


class Axes:
    """An area of a chart in the units of the data; ``box`` is its left, top, right and bottom in pixels."""

    def __init__(
        self, chart: Chart, box: tuple[int, int, int, int], x: tuple[float, float] = (0, 1), y: tuple[float, float] = (0, 1)
    ) -> None:
        self.chart, (self.left, self.top, self.right, self.bottom) = chart, box
        self._x, self._y = x, y

    def x(self, value: float) -> float:
        """The column of a value."""
        return self.left + (value - self._x[0]) / (self._x[1] - self._x[0]) * (self.right - self.left)

    def y(self, value: float) -> float:
        """The row of a value."""
        return self.bottom - (value - self._y[0]) / (self._y[1] - self._y[0]) * (self.bottom - self.top)

    def bar(self, x: tuple[float, float], y: tuple[float, float], colour: Colour, opacity: float = 1.0) -> None:
        """A rectangle from ``x[0]`` to ``x[1]`` and between both values of ``y``, with a thin gap to the next one."""
        low, high = sorted(min(max(value, self._y[0]), self._y[1]) for value in y)
        self.chart.rectangle(self.x(x[0]) + 1, self.y(high), self.x(x[1]), self.y(low), colour, opacity)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float = 2.0) -> None:
        """A line through points."""
        self.chart.line([(self.x(x), self.y(y)) for x, y in points], colour, width)

    def grid(self) -> None:
        """A faint line at each tick."""
        for value in ticks(*self._x):
            self.chart.rectangle(self.x(value), self.top, self.x(value) + 1, self.bottom, FAINT)
        for value in ticks(*self._y):
            self.chart.rectangle(self.left, self.y(value), self.right, self.y(value) + 1, FAINT)

    def frame(self) -> None:
        """The border, one pixel wide."""
        left, top, right, bottom = self.left, self.top, self.right, self.bottom
        for box in ((left, top, right, top + 1), (left, bottom - 1, right, bottom)):
            self.chart.rectangle(*box, INK)
        for box in ((left, top, left + 1, bottom), (right - 1, top, right, bottom)):
            self.chart.rectangle(*box, INK)

    def mark_x(self, marks: Sequence[tuple[float, str]], *, upright: bool = False) -> None:
        """Ticks with these texts below the area."""
        for value, text in marks:
            x = self.x(value)
            self.chart.rectangle(x, self.bottom, x + 1, self.bottom + TICK, INK)
            if upright:
                self.chart.upright(x, self.bottom + TICK + GAP, text, "t")
            else:
                self.chart.text(x, self.bottom + TICK + GAP, text, "mt")

    def mark_y(self, marks: Sequence[tuple[float, str]], *, right: bool = False) -> None:
        """Ticks with these texts at the left of the area, or at its right."""
        for value, text in marks:
            y = self.y(value)
            if right:
                self.chart.rectangle(self.right, y, self.right + TICK, y + 1, INK)
                self.chart.text(self.right + TICK + GAP, y, text, "lm")
            else:
                self.chart.rectangle(self.left - TICK, y, self.left, y + 1, INK)
                self.chart.text(self.left - TICK - GAP, y, text, "rm")


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most ``most`` round numbers at equal distances from ``low`` to ``high``, which is larger."""
    step = next(step for step in _steps((high - low) / (most - 1)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _steps(least: float) -> Iterator[float]:
    """The round numbers from ``least`` on."""
    power = 10.0 ** math.floor(math.log10(least))
    for factor in (1, 2, 2.5, 5, 10):
        if factor * power >= least * (1 - 1e-9):
            yield factor * power


def marks(values: Sequence[float]) -> list[tuple[float, str]]:
    """Each value with its shortest text."""
    return [(value, f"{value:.6g}") for value in values]


def length(texts: Sequence[str], size: int = TEXT) -> int:
    """The width in pixels of the longest of texts."""
    return math.ceil(max((font(size).getlength(text) for text in texts), default=0))


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """A font of ``size`` pixels."""
    return ImageFont.truetype(str(font_file(bold)), size)


@cache
def drawable(text: str) -> bool:
    """Whether the font has all letters of the text; it has no Chinese, for example."""
    if text.isascii() and text.isprintable():
        return True
    from matplotlib.ft2font import FT2Font  # late: takes a third of a second

    glyphs = FT2Font(str(font_file())).get_charmap()
    return all(ord(letter) in glyphs for letter in text)


def font_file(bold: bool = False) -> Path:
    """A font that comes with matplotlib, because a machine may have none."""
    name = f"fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf"
    found = find_spec("matplotlib")
    if found is not None and found.origin is not None:
        file = Path(found.origin).parent / "mpl-data" / name
        if file.is_file():
            return file
    import matplotlib  # late: only where its data are elsewhere

    return Path(matplotlib.get_data_path()) / name
