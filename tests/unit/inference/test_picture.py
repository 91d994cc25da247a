"""Pictures of images with classes: every pixel, bars, long names."""

from __future__ import annotations

import numpy as np
import pytest

from deit.inference import picture


def card(size: int, name: str = "7", *shares: tuple[str, float], shape: tuple[int, int] = (20, 30)) -> picture.Card:
    rng = np.random.default_rng(size)
    original = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    return picture.Card(original, rng.integers(0, 256, (size, size, 3)).astype(np.uint8), name, list(shares))


@pytest.mark.parametrize(("size", "count"), [(8, 1), (32, 16), (48, 5), (224, 6), (384, 3)])
def test_picture_contains_every_pixel(size: int, count: int) -> None:
    cards = [card(size, "7", ("7", 0.62), ("3", 0.3)) for _ in range(count)]
    subtitle = ["one line", "another"]
    layout = picture.layout_of(subtitle, cards)
    drawn = np.asarray(picture.sheet("title", subtitle, cards))
    assert drawn.shape == (layout.height, max(layout.width, drawn.shape[1]), 3) and layout.width <= max(2000, 3 * layout.side)
    times = layout.enlargement
    for number, each in enumerate(cards):
        left, top = layout.place(number)
        shown = drawn[top : top + layout.side, left : left + layout.side]
        np.testing.assert_array_equal(shown, each.seen.repeat(times, 0).repeat(times, 1))


def test_bar_shows_the_shares() -> None:
    cards = [card(32, "7", ("7", 0.5), ("3", 0.25))]
    layout = picture.layout_of(["line"], cards)
    left, top = layout.place(0)
    row = np.asarray(picture.sheet("t", ["line"], cards))[top + layout.side + picture.ABOVE_BAR + 1, left : left + layout.side]
    colours = [tuple(int(value) for value in pixel) for pixel in row]
    assert colours.count(picture.COLOURS[0]) == layout.side // 2 and colours.count(picture.COLOURS[1]) == layout.side // 4
    assert colours.count(picture.EMPTY) == layout.side // 4


def test_long_names_are_cut_to_the_width_of_their_image() -> None:
    long = "a class whose name is longer than the image is wide"
    cards = [card(32, long, (long, 0.5), (long, 0.4)) for _ in range(2)]
    layout = picture.layout_of(["line"], cards)
    drawn = np.asarray(picture.sheet("t", ["line"], cards))
    left, top = layout.place(0)
    below = drawn[top + layout.side + picture.ABOVE_BAR + picture.BAR :]
    right = left + layout.side
    between = [*range(left - picture.BETWEEN_IMAGES, left), *range(right, right + picture.BETWEEN_CARDS)]
    assert (below[:, between] == 255).all() and (below[:, left:right] < 128).any()
