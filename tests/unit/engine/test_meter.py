"""Losses and overflows between two journal records."""

from __future__ import annotations

import json

import numpy as np

from deit.engine.meter import Bad, Meter


def test_overflow_is_bad_only_at_the_minimum_loss_scale() -> None:
    from mindspore import Tensor

    def add(meter: Meter, step: int, finite: bool, scale: float) -> None:
        meter.add(step, [Tensor(np.float32(1 if finite else np.inf))], Tensor(1.0), Tensor(finite), Tensor(scale))

    meter = Meter(dynamic=True)
    meter.begin(4.0)
    for step, (finite, scale) in enumerate([(False, 2), (False, 1), (False, 1), (True, 1), (False, 1)]):
        add(meter, step, finite, scale)
    assert meter.has_bad() and meter.bad() == [Bad(2, np.inf, 1), Bad(4, np.inf, 1)] and not meter.has_bad()
    again = Meter(dynamic=True)
    again.begin(1.0, json.loads(json.dumps(meter.saved())))
    add(again, 5, False, 1)
    assert again.bad() == [Bad(5, np.inf, 2)]
    assert again.metrics(0.0, 1)["train/overflows"] == 5
