"""Dropout: masks are functions of key, layer and element."""

from __future__ import annotations

import dataclasses
import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from tiny_networks import CLASSES, TINY

from deit.models.deit import build_model
from deit.models.dropout import Dropout

pytestmark = pytest.mark.usefixtures("graph_mode")


def kept(rate: float, layer: int, key: int, shape: tuple[int, ...] = (64, 9, 128)) -> np.ndarray:
    return Dropout(rate, layer)(Tensor(np.ones(shape, np.float32)), Tensor(key, ms.int32)).asnumpy() != 0


def test_dropout_keeps_its_share_and_scales_it() -> None:
    x = np.random.default_rng(4).standard_normal((64, 9, 128), np.float32)
    y = Dropout(0.3, 2)(Tensor(x), Tensor(11, ms.int32)).asnumpy()
    mask = y != 0
    sigma = math.sqrt(0.3 * 0.7 / x.size)
    assert abs(mask.mean() - 0.7) < 4 * sigma
    np.testing.assert_allclose(y[mask], x[mask] / 0.7, rtol=1e-6)
    # No row and no column is favoured: the means scatter as those of independent draws do.
    for axes, count in (((0, 1), 64 * 9), (2, 128)):
        assert abs(mask.mean(axes).std() / math.sqrt(0.3 * 0.7 / count) - 1) < 0.2


def test_dropout_masks_are_functions_of_key_and_layer() -> None:
    mask = kept(0.5, 1, key=7)
    np.testing.assert_array_equal(mask, kept(0.5, 1, key=7))
    neighbours = {
        "next key": kept(0.5, 1, key=8),
        "negative key": kept(0.5, 1, key=-7),
        "next layer": kept(0.5, 2, key=7),
        "next row": np.roll(mask, 1, axis=1),
        "next column": np.roll(mask, 1, axis=2),
    }
    sigma = 0.5 / math.sqrt(mask.size)
    for what, other in neighbours.items():
        assert abs((mask == other).mean() - 0.5) < 4 * sigma, what


def test_each_dropout_of_the_network_has_its_own_layer_number() -> None:
    network = build_model(dataclasses.replace(TINY, drop_rate=0.2), CLASSES)
    salts = [cell.salt for _, cell in network.cells_and_names() if isinstance(cell, Dropout)]
    assert len(salts) == len(set(salts)) == 1 + 3 * TINY.depth
