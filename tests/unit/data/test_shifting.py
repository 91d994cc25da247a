"""Translations and shears along one axis, against plain interpolation."""

from __future__ import annotations

import numpy as np
import pytest

from deit.data.shifting import sheared, translated

FILL = (1, 2, 3)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize("columns", [-9, -3, 0, 2, 9])
def test_whole_columns_are_moved_exactly(image: np.ndarray, columns: int, cubic: bool) -> None:
    wanted = np.empty_like(image)
    wanted[:] = FILL
    for x in range(9):
        if 0 <= x + columns < 9:
            wanted[:, x] = image[:, x + columns]
    np.testing.assert_array_equal(translated(image, columns, cubic, FILL), wanted)


def test_half_a_column_is_the_truncated_mean_of_two(image: np.ndarray) -> None:
    found = translated(image, 0.5, False, FILL)
    np.testing.assert_array_equal(found[:, :-1], (image[:, :-1].astype(int) + image[:, 1:]) // 2)


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize("slope", [-0.7, 0.3])
def test_each_row_of_a_shear_is_a_translation(image: np.ndarray, slope: float, cubic: bool) -> None:
    found = sheared(image, slope, cubic, FILL)
    for y in range(6):
        wanted = translated(image[y : y + 1], slope * (y + 0.5), cubic, FILL)
        assert np.abs(found[y].astype(int) - wanted[0]).max() <= 1  # the rounding of float32


def test_no_shear_is_the_image_itself(image: np.ndarray) -> None:
    np.testing.assert_array_equal(sheared(image, 0.0, True, FILL), image)
