"""A PNG of image pairs in a grid: the original image, the network's input, and the target below.

Small images are enlarged by a whole factor without interpolation, so that each pixel is visible.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deit.files import whole_file

# All in pixels.
WIDTH = 2000  # maximum, unless there is only one column
COLUMNS = 4  # maximum
LEAST_SIDE = 160  # smaller images are enlarged to about this side
MARGIN, BETWEEN_CARDS, BETWEEN_IMAGES = 36, 36, 6
TITLE, TEXT, CAPTION = 26, 16, 15  # font sizes
LINE, SUBTITLE_LINE = 21, 24  # line heights
BAR, ABOVE_BAR = 5, 4  # the bar of the shares

PAPER, INK, FAINT, EMPTY = (255, 255, 255), (24, 28, 36), (108, 116, 128), (228, 230, 235)
COLOURS = ((38, 98, 184), (232, 138, 32))  # of the two classes of a target


@dataclass(frozen=True)
class Card:
    """One image with its caption."""

    original: np.ndarray  # uint8 [h, w, 3], of any size
    seen: np.ndarray  # uint8 [H, W, C], the same on all cards; C is 3 or 1
    name: str  # the class of the original
    shares: list[tuple[str, float]] = field(default_factory=list)  # the target: up to two classes with their shares


@dataclass(frozen=True)
class Layout:
    """The layout of a picture of ``cards`` cards whose images have ``size`` pixels on their longer side."""

    cards: int
    size: int
    subtitle_lines: int
    captions: int  # lines below an image

    @property
    def enlargement(self) -> int:
        return max(1, round(LEAST_SIDE / self.size))

    @property
    def side(self) -> int:
        """The displayed side of an image."""
        return self.size * self.enlargement

    @property
    def columns(self) -> int:
        card = 2 * self.side + BETWEEN_IMAGES + BETWEEN_CARDS
        fitting = (WIDTH - 2 * MARGIN + BETWEEN_CARDS) // card
        return max(1, min(COLUMNS, self.cards, fitting))

    @property
    def width(self) -> int:
        left, _ = self.place(self.columns - 1)
        return left + self.side + MARGIN

    @property
    def height(self) -> int:
        _, top = self.place(self.cards - 1)
        return top + self.side + self._below

    def place(self, number: int) -> tuple[int, int]:
        """Left and top of the network's input on card ``number``, counted from 0."""
        row, column = divmod(number, self.columns)
        left = MARGIN + column * (2 * self.side + BETWEEN_IMAGES + BETWEEN_CARDS) + self.side + BETWEEN_IMAGES
        return left, MARGIN + TITLE + 36 + self.subtitle_lines * SUBTITLE_LINE + row * (self.side + self._below)

    @property
    def _below(self) -> int:
        return ABOVE_BAR + BAR + self.captions * LINE + 30


def draw(path: Path, title: str, subtitle: list[str], cards: list[Card]) -> None:
    """Write the picture of ``cards``; the file appears only when it is complete."""
    picture = sheet(title, subtitle, cards)
    with whole_file(path, durable=False) as file:
        picture.save(file, format="PNG")


def sheet(title: str, subtitle: list[str], cards: list[Card]) -> Image.Image:
    """The picture of ``cards`` (at least one) in memory."""
    layout = layout_of(subtitle, cards)
    longest = max(_font(TITLE, bold=True).getlength(title), *(_font(TEXT).getlength(line) for line in subtitle))
    picture = Image.new("RGB", (max(layout.width, round(longest) + 2 * MARGIN), layout.height), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN), title, INK, _font(TITLE, bold=True), anchor="lt")
    for number, line in enumerate(subtitle):
        pen.text((MARGIN, MARGIN + TITLE + 16 + number * SUBTITLE_LINE), line, FAINT, _font(TEXT), anchor="lt")
    for number, card in enumerate(cards):
        left, top = layout.place(number)
        height, width = (layout.enlargement * side for side in card.seen.shape[:2])
        seen = Image.fromarray(coloured(card.seen)).resize((width, height), Image.Resampling.NEAREST)
        left_of_original = left - BETWEEN_IMAGES - layout.side
        _paste(picture, _fitted(card.original, layout.side), left_of_original, top, layout.side)
        _paste(picture, seen, left, top, layout.side)
        below = top + layout.side + ABOVE_BAR
        baseline = below + BAR + LINE - 4
        room = layout.side if card.shares else 2 * layout.side + BETWEEN_IMAGES
        pen.text((left_of_original, baseline), _shortened(card.name, room), INK, _font(CAPTION), anchor="ls")
        if card.shares:
            _draw_target(pen, card.shares, left, below, baseline, layout.side)
    return picture


def layout_of(subtitle: list[str], cards: list[Card]) -> Layout:
    """The layout of a picture."""
    return Layout(len(cards), max(cards[0].seen.shape[:2]), len(subtitle), max(1, *(len(card.shares) for card in cards)))


def coloured(image: np.ndarray) -> np.ndarray:
    """The input of a network [H, W, C] as RGB: grey in each channel."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


@cache
def drawable(text: str) -> bool:
    """Whether the font has all letters of the text; it has no Chinese, for example."""
    from matplotlib.ft2font import FT2Font

    glyphs = FT2Font(_font_file()).get_charmap()
    return all(ord(letter) in glyphs for letter in text)


def _draw_target(
    pen: ImageDraw.ImageDraw, shares: list[tuple[str, float]], left: int, top: int, baseline: int, side: int
) -> None:
    """A bar of the shares, with the rest of the classes in grey, and a line for each named class."""
    pen.rectangle((left, top, left + side - 1, top + BAR - 1), EMPTY)
    start = 0.0
    for number, ((name, share), colour) in enumerate(zip(shares, COLOURS, strict=False)):
        edges = [left + round(side * value) for value in (start, start + share)]
        if edges[0] < edges[1]:
            pen.rectangle((edges[0], top, edges[1] - 1, top + BAR - 1), colour)
        start += share
        value, line = f"{share:.2f}", baseline + number * LINE
        room = side - _font(CAPTION).getlength(value) - 8
        pen.text((left, line), _shortened(name, room), INK, _font(CAPTION), anchor="ls")
        pen.text((left + side, line), value, colour, _font(CAPTION), anchor="rs")


def _paste(picture: Image.Image, image: Image.Image, left: int, top: int, side: int) -> None:
    """Centre an image in a square with a thin border, which makes white images visible."""
    ImageDraw.Draw(picture).rectangle((left - 1, top - 1, left + side, top + side), EMPTY)
    picture.paste(image, (left + (side - image.width) // 2, top + (side - image.height) // 2))


def _fitted(image: np.ndarray, side: int) -> Image.Image:
    """An image scaled down into a square of ``side``, or enlarged by the largest whole factor that fits."""
    picture = Image.fromarray(image)
    scale = side / max(picture.size)
    if scale >= 1:
        return picture.resize((picture.width * int(scale), picture.height * int(scale)), Image.Resampling.NEAREST)
    width, height = (max(1, round(scale * edge)) for edge in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _shortened(text: str, room: float) -> str:
    """The text, its end cut off if it is wider than ``room``."""
    font = _font(CAPTION)
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}…") > room:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_font_file(bold), size)


def _font_file(bold: bool = False) -> str:
    """A font that comes with matplotlib, because a machine may have none."""
    import matplotlib  # late: only pictures need it

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"))
