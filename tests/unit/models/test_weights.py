"""Loading weights into a network."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from tiny_networks import CLASSES, TINY, images, loaded

from deit.errors import UserError
from deit.models.deit import DeiT, build_model
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights

pytestmark = pytest.mark.usefixtures("graph_mode")


def test_loading_updates_a_network_that_has_already_run() -> None:
    network = loaded(TINY)

    @ms.jit  # where Parameter.set_data goes unnoticed
    def forward(x: Tensor) -> Tensor:
        return network(x)

    for run in (network, forward):
        run(Tensor(images()))
    weights = initial_weights(parameter_shapes(TINY, CLASSES), seed=5)
    load_weights(network, weights)
    fresh = build_model(TINY, CLASSES)
    load_weights(fresh, weights)
    expected = fresh(Tensor(images())).asnumpy()
    assert network(Tensor(images())).asnumpy().tobytes() == expected.tobytes()
    np.testing.assert_allclose(forward(Tensor(images())).asnumpy(), expected, atol=1e-6)


class Holder(nn.Cell):
    def __init__(self, network: DeiT) -> None:
        super().__init__()
        self.network = network


def test_loading_checks_names_and_shapes_before_it_writes() -> None:
    network = loaded(TINY)
    holder = Holder(network)  # its parameters are now called network.*
    good = initial_weights(parameter_shapes(TINY, CLASSES), seed=5)
    before = network.cls_token.asnumpy().copy()
    for bad, message in (
        ({n: w for n, w in good.items() if n != "norm.beta"}, "file.x: lacks norm.beta"),
        (good | {"head_dist.bias": good["head.bias"]}, "file.x: has the unknown head_dist.bias"),
        (good | {"head.bias": np.zeros(7, np.float32)}, r"file.x: head.bias has the shape \(7,\), but the model's is \(5,\)"),
    ):
        with pytest.raises(UserError, match=message):
            load_weights(holder, bad, prefix="network.", source="file.x")
    np.testing.assert_array_equal(network.cls_token.asnumpy(), before)
    load_weights(holder, good, prefix="network.")
    np.testing.assert_array_equal(network.cls_token.asnumpy(), good["cls_token"])
