"""The split of the digits."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from composition import composed
from sklearn.datasets import load_digits

from deit.data import digits
from deit.data.datasets import open_dataset
from deit.data.digits import held_out


def test_every_fifth_scan_of_each_class_is_held_out() -> None:
    labels = np.array([0, 1] * 12 + [2] * 4)
    held = held_out(labels)
    assert np.flatnonzero(held & (labels == 0)).tolist() == [8, 18]  # the 5th and the 10th zero
    assert np.flatnonzero(held & (labels == 1)).tolist() == [9, 19]
    assert not held[labels == 2].any()  # fewer than five


def test_digits_equal_scikit_learn_without_importing_it() -> None:
    scans, labels = digits._scans()
    code = "import sys; from deit.data import digits; digits._scans(); sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    theirs, answers = load_digits(return_X_y=True)
    assert np.array_equal(scans, theirs) and np.array_equal(labels, answers) and labels.dtype == answers.dtype


def test_images_are_read_once_for_both_splits_and_are_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    data = composed("experiment=quickstart").data
    train, val = (open_dataset(data, train) for train in (True, False))
    monkeypatch.setattr(digits, "_scans", None)
    again = open_dataset(data, train=True)
    assert len(train) + len(val) == 1797 and np.array_equal(again.image(5), train.image(5))
    images, labels = digits._images()
    assert not images.flags.writeable and not labels.flags.writeable
