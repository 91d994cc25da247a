"""Charts: ticks at round numbers, places in pixels, and texts that stay in the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deit.chart import INK, TITLE, Axes, Chart, drawable, font_file, length, marks, ticks


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 1, 6, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 48, 10, [0, 10, 20, 30, 40]),
        (0, 2.1e-3, 6, [0, 5e-4, 1e-3, 1.5e-3, 2e-3]),
        (-0.5, 9.5, 3, [0, 5]),
    ],
)
def test_ticks_are_round_numbers_of_the_range(low: float, high: float, most: int, expected: list[float]) -> None:
    assert ticks(low, high, most) == pytest.approx(expected)
    assert [text for _, text in marks(ticks(0, 1e-12))][-1] == "1e-12"


def test_bars_and_lines_are_at_their_values() -> None:
    chart = Chart(120, 120)
    axes = Axes(chart, (10, 10, 110, 110), (0, 10), (0, 10))
    assert (axes.x(5), axes.y(0), axes.y(10)) == (60, 110, 10)
    axes.bar((2, 4), (3, 20), (255, 0, 0))
    axes.line([(6, 0), (6, 10)], (0, 0, 255))
    pixels = np.asarray(chart.image)
    red = np.argwhere((pixels == (255, 0, 0)).all(-1))
    assert red.min(0).tolist() == [10, 31] and red.max(0).tolist() == [79, 49]  # cut off at the upper end
    assert {int(column) for _, column in np.argwhere((pixels == (0, 0, 255)).all(-1))} <= {69, 70}
    assert (pixels[:, 69:71] == (0, 0, 255)).all(-1).sum() >= 100


def test_title_stays_in_the_picture(tmp_path: Path) -> None:
    text = "a title that is almost as wide as its picture"
    chart = Chart(length([text], TITLE) + 8, 40)
    chart.title(10, 30, text)
    dark = np.argwhere((np.asarray(chart.image) == INK).all(-1))
    assert dark[:, 1].min() < 12 and dark[:, 1].max() > chart.image.width - 16
    chart.upright(20, 20, "up")
    chart.save(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_font_comes_with_matplotlib_and_has_no_chinese() -> None:
    assert font_file().is_file() and font_file(bold=True) != font_file()
    assert drawable("a plain name") and drawable("Größe") and not drawable("图")
    assert not drawable("two\nlines")
