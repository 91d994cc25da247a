"""The learning rate of each parameter."""

from __future__ import annotations

import mindspore as ms
import pytest
from mindspore import Tensor

from deit.optim.rates import Rates


@pytest.mark.usefixtures("graph_mode")
def test_each_parameter_gets_its_factor_of_the_rate() -> None:
    lr = Tensor(0.5, ms.float32)
    assert [float(rate.asnumpy()) for rate in Rates([1.0, 0.25, 0.5, 0.25], 4)(lr)] == [0.5, 0.125, 0.25, 0.125]
    assert [float(rate.asnumpy()) for rate in Rates(None, 3)(lr)] == [0.5] * 3
