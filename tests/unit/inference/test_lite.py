"""MindSpore Lite, which is not installed here: a stand-in records the calls that its documentation describes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from composition import composed

from deit.exports import description
from deit.inference import lite

MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]


class Model:
    """Doubles the mean of each image."""

    def __init__(self) -> None:
        self.shape = [1, 3, 4, 4]

    def build_from_file(self, file: str, kind: str, context: Any) -> None:
        assert (Path(file).name, kind, context.target, context.ascend.device_id) == ("model.mindir", "MINDIR", ["ascend"], 0)

    def get_inputs(self) -> list[Any]:
        def keep(values: np.ndarray) -> None:
            assert list(values.shape) == self.shape
            self.given = values

        return [SimpleNamespace(shape=self.shape, set_data_from_numpy=keep)]

    def resize(self, inputs: list[Any], shapes: list[list[int]]) -> None:
        (self.shape,) = shapes

    def predict(self, inputs: list[Any]) -> list[Any]:
        return [SimpleNamespace(get_data_to_numpy=lambda: 2 * self.given.reshape(len(self.given), -1).mean(1, keepdims=True))]


def test_images_are_normalised_and_the_batch_is_resized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not lite.usable(tmp_path)
    made = SimpleNamespace(
        Context=lambda: SimpleNamespace(ascend=SimpleNamespace()), Model=Model, ModelType=SimpleNamespace(MINDIR="MINDIR")
    )
    monkeypatch.setitem(sys.modules, "mindspore_lite", made)
    how = description.Preprocessing(False, 4, 1.0, "bicubic", MEAN, STD)
    described = SimpleNamespace(preprocessing=how, classes=["a"], batch=None, file="model.mindir")
    monkeypatch.setattr(description, "read", lambda folder, source: described)
    network = lite.LitePredictor(tmp_path, "here", composed("experiment=quickstart").hardware)
    images = np.full((2, 4, 4, 3), 255, np.uint8)
    images[1] = 0
    np.testing.assert_allclose(network.answer(images), [[4.0], [-4.0]], rtol=1e-6)  # 2 * (1 - .5) / .25
