"""The model that MLflow loads and serves: an exported MINDIR or ONNX file that accepts images of any size.

``task=register`` logs it, with the modules it needs in the folder of the MLflow model, so that it can be served where this
project is not installed. Hence it imports little: no Hydra, only MLflow's exception class, MindSpore only for a MINDIR.

Waiting requests to a MINDIR are batched (``batches.py``): two computations at once would crash the process. onnxruntime
computes several images in parallel, which is faster than a batch of them on a CPU. A lone request, and each request to an ONNX
file, gives the result of ``task=predict`` bit for bit; in a batch the logits of a MINDIR differ by at most 2e-6, far below the
tolerance of an export (docs/inference.md has the figures)."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
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
from deit.serving.batches import Batches
from deit.serving.request import Limits, cells_of, read_images

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMN = "image"
# Allowed `params` of a request, with defaults.
PARAMS = {"topk": 5, "probabilities": False}
# Batch sizes of a MINDIR; each is compiled, which takes seconds.
MINDIR_SIZES = (1, 4, 16)
# Allowed model configuration of a server. A decoded image of so many pixels takes 150 MB.
CONFIG = {"max_images": 64, "max_pixels": 50_000_000}
# Seconds after which a thread that parses a request lets another one continue. With Python's .005, a thread that decodes or
# computes without the interpreter waits that long before it may hand over its result.
SWITCH_INTERVAL = 0.0005
SERVER_VARIABLE = "__pyfunc_model_path__"  # a variable of the processes of `mlflow models serve`


class ServedModel:
    """``predict`` handles the images of a request; several threads may call it at once."""

    def __init__(self, predictor: Predictor, transform: EvalTransform, limits: Limits, sizes: Sequence[int] = ()) -> None:
        """``sizes``: batch sizes for waiting images; without them, each thread calls the predictor."""
        self._predictor, self._transform, self._limits = predictor, transform, limits
        self._logits: Callable[[np.ndarray], np.ndarray] = Batches(predictor, sizes) if sizes else predictor

    def predict(self, data: DataFrame, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """A result for each image of the column ``image``: base64 text or the bytes of an image file, pixels uint8
        [H, W, 3], or a Pillow image.

        ``params``: the number of most likely classes (``topk``), and whether to add the ``probabilities`` of all. Raises
        MLflow's error for a wrong request (HTTP 400), which names the wrong images.
        """
        asked = {**PARAMS, **(params or {})}
        try:
            if asked["topk"] < 1:
                raise UserError(f"topk is {asked['topk']}; allowed: at least 1.")
            if COLUMN not in data:
                raise UserError(f"the request has no column {COLUMN!r}; found: {', '.join(map(repr, data))}.")
            pixels = read_images(list(data[COLUMN]), self._limits, self._transform, self._predictor.preprocessing.background)
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return self._answers(probabilities(self._logits(pixels)), asked["topk"], asked["probabilities"])

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
    """JSON has no nan, which a network with infinite weights returns."""
    return float(share) if np.isfinite(share) else None


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ServedModel:
    """Called by MLflow: open the export in the folder ``path``, check its checksum, and run it once.

    The first call of each batch size compiles, which no request should wait for.
    """
    limits = _limits(model_config or {})
    folder = Path(path)
    described = description.read(folder, "model")
    mindir = described.export_format == "mindir"
    if mindir:
        _prepare_mindspore()
    _take_images()
    predictor = open_export(folder, "model", batch=None if mindir else 1)
    if SERVER_VARIABLE in os.environ:
        sys.setswitchinterval(SWITCH_INTERVAL)
    sizes = () if not mindir else (predictor.batch,) if predictor.batch else MINDIR_SIZES
    shape = (*described.preprocessing.size, described.preprocessing.channels)
    for size in sizes or (1,):
        predictor(np.zeros((size, *shape), np.uint8))
    return ServedModel(predictor, eval_transform(described), limits, sizes)


def _take_images() -> None:
    """Let ``predict`` of MLflow's wrapper accept a NumPy batch, a list of arrays or Pillow images.

    MLflow checks its input against the signature before it calls the model, and makes a table of anything: of pixels that fails
    with a message about dimensions. There is no hook for it. Without a signature it would pass everything on, but its server
    would then reject lists of images of several sizes, and copy texts into arrays as wide as the longest.
    """
    import mlflow.pyfunc
    import pandas

    check = getattr(mlflow.pyfunc, "_validate_prediction_input", None)
    if check is None or getattr(check, "takes_images", False):
        return

    @functools.wraps(check)
    def checked(data: Any, params: Any, input_schema: Any, params_schema: Any, flavor: Any = None) -> Any:
        cells = cells_of(data) if flavor == __name__ else None
        table = data if cells is None else pandas.DataFrame({COLUMN: pandas.Series(cells, dtype=object)})
        return check(table, params, input_schema, params_schema, flavor)

    checked.takes_images = True  # type: ignore[attr-defined]
    mlflow.pyfunc._validate_prediction_input = checked


def eval_transform(described: Description) -> EvalTransform:
    """The evaluation transform of an exported network's run."""
    how = described.preprocessing
    # Everything that the transform reads from a configuration.
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
    """Use compiled graphs on the CPU. Any thread may use one, but two at once crash the process (MindSpore 2.10)."""
    os.environ.setdefault("GLOG_v", "3")  # errors only
    import mindspore

    mindspore.set_device("CPU")
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
