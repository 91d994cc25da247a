"""The matrices of RandAugment's affine operations, checked on points."""

from __future__ import annotations

import numpy as np
import pytest

from deit.data.geometry import AFFINE, affine_matrix


def moved(name: str, argument: float, x: float, y: float, size: tuple[int, int] = (40, 20)) -> tuple[float, float]:
    """Which point of the input the output shows at (x, y)."""
    a, b, c, d, e, f = affine_matrix((name, argument), *size)
    return a * x + b * y + c, d * x + e * y + f


@pytest.mark.parametrize(
    ("name", "argument", "point", "shown"),
    [
        ("ShearX", 0.5, (10, 4), (12, 4)),
        ("ShearY", -0.5, (10, 4), (10, -1)),
        ("TranslateX", 0.25, (0, 0), (10, 0)),
        ("TranslateY", -0.5, (3, 3), (3, -7)),
        ("Rotate", 90, (20, 10), (20, 10)),  # the centre stays
        ("Rotate", 90, (21, 10), (20, 11)),
        ("Rotate", 180, (0, 0), (40, 20)),
    ],
)
def test_affine_matrix_maps_pixels_to_their_source(
    name: str, argument: float, point: tuple[float, float], shown: tuple[float, float]
) -> None:
    np.testing.assert_allclose(moved(name, argument, *point), shown, atol=1e-12)


@pytest.mark.parametrize("name", AFFINE)
def test_an_argument_of_zero_changes_nothing(name: str) -> None:
    np.testing.assert_allclose(affine_matrix((name, 0.0), 40, 20), (1, 0, 0, 0, 1, 0), atol=1e-12)


def test_other_operations_have_no_matrix() -> None:
    with pytest.raises(ValueError, match="Invert"):
        affine_matrix(("Invert", 0.0), 40, 20)
