"""The model that MLflow loads and serves: an exported MINDIR or ONNX file that answers images of any size.

It is what ``task=register`` logs, and stands with the modules it needs in the folder of the MLflow model, so that it can be
served where this project is not installed. Hence it imports little: no Hydra, no MLflow beyond its error, MindSpore for a
MINDIR alone.

Each image goes through the network by itself. So an answer depends on the image alone, not on what else is in the request, and
is that of ``task=predict`` of the file, bit for bit. Batches would gain little on a CPU, and a MINDIR is compiled anew for each
new size of them (docs/inference.md has the figures).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.exceptions import MlflowException

from deit.config.schema import DataConfig, RunConfig
from deit.data.transform import EvalTransform
from deit.errors import UserError
from deit.exports import description
from deit.exports.description import Description
from deit.exports.predictor import Predictor, open_export
from deit.inference.likeliest import likeliest, probabilities
from deit.serving.request import Limits, read_images

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMN = "image"
# What a request may give as `params`, with what it gets without.
PARAMS = {"topk": 5, "probabilities": False}
# What a server may be given as its model configuration. A decoded image of so many pixels takes 150 MB.
CONFIG = {"max_images": 64, "max_pixels": 50_000_000}


class ServedModel:
    """``predict`` answers the images of a request; it may be called by several threads at once."""

    def __init__(self, predictor: Predictor, transform: EvalTransform, limits: Limits, *, serial: bool) -> None:
        """``serial``: only one thread at a time may use the predictor."""
        self._predictor, self._transform, self._limits = predictor, transform, limits
        self._turn: contextlib.AbstractContextManager[Any] = threading.Lock() if serial else contextlib.nullcontext()

    def predict(self, data: DataFrame, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """An answer for each image of the column ``image``: base64 text of an image file, or uint8 pixels [H, W, 3].

        ``params``: how many of the likeliest classes (``topk``), and whether the ``probabilities`` of all.
        Raises MLflow's error for a request that is wrong (HTTP 400), which names the images at fault.
        """
        asked = {**PARAMS, **(params or {})}
        try:
            if asked["topk"] < 1:
                raise UserError(f"topk is {asked['topk']}; allowed: at least 1.")
            pixels = read_images(list(data[COLUMN]), self._limits, self._transform)
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        with self._turn:
            logits = self._predictor(pixels)
        return self._answers(probabilities(logits), asked["topk"], asked["probabilities"])

    def _answers(self, shares: np.ndarray, topk: int, full: bool) -> list[dict[str, Any]]:
        answers = []
        for row, labels in zip(shares, likeliest(shares, topk), strict=True):
            top = [
                {"label": int(label), "class": self._predictor.classes[label], "probability": _number(row[label])}
                for label in labels
            ]
            answers.append({**top[0], "top": top} | ({"probabilities": [_number(share) for share in row]} if full else {}))
        return answers


def _number(share: np.floating[Any]) -> float | None:
    """JSON has no nan, which a network that is not finite answers."""
    return float(share) if np.isfinite(share) else None


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ServedModel:
    """MLflow's call: open the export in the folder ``path``, whose checksum is compared, and let it answer once.

    The first answer of a MINDIR is compiled, which no request should wait for.
    """
    limits = _limits(model_config or {})
    folder = Path(path)
    described = description.read(folder, "model")
    serial = described.export_format == "mindir"
    if serial:
        _prepare_mindspore()
    model = ServedModel(open_export(folder, "model", batch=1), eval_transform(described), limits, serial=serial)
    side = described.preprocessing.img_size
    model._predictor(np.zeros((1, side, side, 3), np.uint8))
    return model


def eval_transform(described: Description) -> EvalTransform:
    """The transform of the evaluation of an exported network's run."""
    how = described.preprocessing
    # All that the transform reads of a configuration.
    data = DataConfig(crop_pct=how.crop_pct, interpolation=how.interpolation)
    return EvalTransform(RunConfig(model=described.model, data=data))


def _limits(given: Mapping[str, Any]) -> Limits:
    config = {**CONFIG, **given}
    for key, value in config.items():
        if type(value) is not int or value < 1:
            raise MlflowException.invalid_parameter_value(
                f"{key} of the model configuration is {value!r}; allowed: a whole number, at least 1."
            )
    return Limits(**config)


def _prepare_mindspore() -> None:
    """Compiled graphs on the CPU. Any thread may use one, but two at once end the process (MindSpore 2.10)."""
    os.environ.setdefault("GLOG_v", "3")  # errors only
    import mindspore

    mindspore.set_device("CPU")
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
