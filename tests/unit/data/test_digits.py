"""The split of the digits."""

from __future__ import annotations

import numpy as np

from deit.data.digits import held_out


def test_every_fifth_scan_of_each_class_is_held_out() -> None:
    labels = np.array([0, 1] * 12 + [2] * 4)
    held = held_out(labels)
    assert np.flatnonzero(held & (labels == 0)).tolist() == [8, 18]  # the 5th and the 10th zero
    assert np.flatnonzero(held & (labels == 1)).tolist() == [9, 19]
    assert not held[labels == 2].any()  # fewer than five
