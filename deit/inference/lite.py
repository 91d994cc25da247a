"""A MINDIR through MindSpore Lite on an Ascend card, such as the 310, whose host may lack MindSpore.

MindSpore Lite cannot be installed without Ascend's software, so this was written from its documentation and has never been run.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from deit.config.schema import HardwareConfig
from deit.exports import description
from deit.exports.predictor import Predictor, normalize


def usable(folder: Path) -> bool:
    """Whether ``folder`` is an exported MINDIR and ``mindspore_lite`` is installed."""
    return (folder / "model.mindir").is_file() and importlib.util.find_spec("mindspore_lite") is not None


class LitePredictor(Predictor):
    """The MINDIR of an exported folder on the first visible Ascend card."""

    def __init__(self, folder: Path, source: str, hardware: HardwareConfig) -> None:
        """Raises UserError if the folder is damaged. ``source`` names it in messages."""
        import mindspore_lite

        described = description.read(folder, source)
        super().__init__(described.preprocessing, described.classes, described.batch)
        context = mindspore_lite.Context()
        context.target = ["ascend"]
        context.ascend.device_id = 0  # among the cards that the launcher has made visible
        self._model = mindspore_lite.Model()
        self._model.build_from_file(str(folder / described.file), mindspore_lite.ModelType.MINDIR, context)

    def answer(self, images: np.ndarray) -> np.ndarray:
        taken = images if self.preprocessing.in_graph else normalize(images, self.preprocessing)
        inputs = self._model.get_inputs()
        if list(inputs[0].shape) != list(taken.shape):
            self._model.resize(inputs, [list(taken.shape)])
            inputs = self._model.get_inputs()
        inputs[0].set_data_from_numpy(taken)
        return self._model.predict(inputs)[0].get_data_to_numpy()
