"""RegNetY from the names and shapes of its parameters."""

from __future__ import annotations

import pytest
from teachers import TINY_REGNET

from deit.errors import UserError
from deit.models.regnet_shapes import is_regnet, read_regnet, regnet_shapes


def test_regnet_is_detected_from_names_and_shapes() -> None:
    shapes = regnet_shapes(TINY_REGNET)
    assert is_regnet(shapes)
    shuffled = dict(sorted(shapes.items(), reverse=True)) | {"stem.bn.num_batches_tracked": ()}
    assert read_regnet(shuffled, "file") == TINY_REGNET


def changed(name: str, shape: tuple[int, ...] | None) -> dict[str, tuple[int, ...]]:
    shapes = regnet_shapes(TINY_REGNET) | {name: shape}
    return {name: shape for name, shape in shapes.items() if shape is not None}


@pytest.mark.parametrize(
    ("shapes", "word"),
    [
        (changed("s1.b1.conv1.bn.running_mean", None), "s1.b1.conv1.bn.running_mean is missing"),
        (changed("s2.b2.se.fc1.weight", None), "s2.b2.se.fc1"),
        (changed("s2.b1.downsample.conv.weight", None), "s2.b1.downsample.conv.weight is missing"),
        (changed("s2.b1.conv3.conv.weight", (24, 16, 1, 1)), "(24, 16, 1, 1) instead of (24, 24, 1, 1)"),
        (changed("final_conv.conv.weight", (4, 4, 1, 1)), "final_conv.conv.weight is unknown"),
        (changed("s2.b2.conv2.conv.weight", (24, 7, 3, 3)), "block s2.b2 does not fit"),
        (changed("stem.conv.weight", (9, 3, 3, 3)), "stem"),
        (changed("s1.b1.conv1.conv.weight", ()), "s1.b1.conv1.conv.weight"),
        (changed("head.fc.weight", (10,)), "head.fc.weight"),
    ],
)
def test_other_regnets_are_rejected(shapes: dict[str, tuple[int, ...]], word: str) -> None:
    with pytest.raises(UserError, match="not a RegNetY") as error:
        read_regnet(shapes, "file")
    assert str(error.value).startswith("file:") and word in str(error.value)
