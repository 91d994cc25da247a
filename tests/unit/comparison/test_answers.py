"""The prediction of each image, and the list of disagreements."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from deit.comparison import answers, output_files


def test_non_finite_logits_are_no_prediction() -> None:
    logits = np.array([[1, 1, 0], [0, 1, 5], [1, np.nan, 0]], np.float32)
    found = answers.judge(["a", "b", "c"], np.array([1, 2, 0]), logits)
    assert found.predicted.tolist() == [0, 2, answers.NONE] and found.right.tolist() == [False, True, False]
    assert found.loss[1] == pytest.approx(np.log(np.exp([-5, -4, 0]).sum())) and np.isnan(found.loss[2])
    text = output_files.disagreements(["one", "two"], [found, dataclasses.replace(found, predicted=np.array([0, 2, 2]))], "xyz")
    assert text == "image,label,one,two\nc,x,(none),z\n"
