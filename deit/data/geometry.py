"""The affine operations of RandAugment as matrices in Pillow's convention.

``(a, b, c, d, e, f)`` means that the output pixel at (x, y) shows the input at (a x + b y + c, d x + e y + f), where (0, 0) is
the corner of the image and (0.5, 0.5) the centre of its first pixel.
"""

from __future__ import annotations

import math

from deit.data.operations import Operation

Matrix = tuple[float, float, float, float, float, float]

AFFINE = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")


def affine_matrix(operation: Operation, width: int, height: int) -> Matrix:
    """The matrix of one of the operations AFFINE on an image of that size (timm: shear_x and the like)."""
    name, argument = operation
    if name == "ShearX":
        return (1, argument, 0, 0, 1, 0)
    if name == "ShearY":
        return (1, 0, 0, argument, 1, 0)
    if name == "TranslateX":
        return (1, 0, argument * width, 0, 1, 0)
    if name == "TranslateY":
        return (1, 0, 0, 0, 1, argument * height)
    if name == "Rotate":
        cos, sin = math.cos(math.radians(argument)), math.sin(math.radians(argument))
        x, y = width / 2, height / 2  # the fixed point
        return (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)
    raise ValueError(f"{name} is no affine operation")
