"""The common interface of networks that predict: a run's weights, or an exported file.

All take the pixels from the evaluation's transform (``deit.data.transform.EvalTransform``) and normalise them exactly once, in
the file or before it. MindSpore and onnxruntime are imported only if needed: an ONNX file is served without MindSpore.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.exports import description
from deit.exports.description import Description, Preprocessing
from deit.installation import install_command

EXTRA = install_command("export")


class Predictor(abc.ABC):
    """Call it with pixels uint8 [N, H, W, C], RGB or grey, any N: logits float32 [N, K], one column for each of ``classes``.

    ``preprocessing`` says how an image becomes such pixels. ``batch`` is the fixed batch size, to which the last images are
    padded with black ones; None takes any number.
    """

    def __init__(self, preprocessing: Preprocessing, classes: Sequence[str], batch: int | None) -> None:
        self.preprocessing, self.classes, self.batch = preprocessing, list(classes), batch

    def __call__(self, images: np.ndarray) -> np.ndarray:
        (height, width), channels = self.preprocessing.size, self.preprocessing.channels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (height, width, channels):
            raise UserError(
                f"images are {images.dtype} {list(images.shape)}, expected are uint8 [N, {height}, {width}, {channels}]."
            )
        size = self.batch or max(len(images), 1)
        answers = [np.empty((0, len(self.classes)), np.float32)]
        for start in range(0, len(images), size):
            part = images[start : start + size]
            filled = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.uint8)])
            answers.append(self.answer(filled)[: len(part)])
        return np.concatenate(answers)

    @abc.abstractmethod
    def answer(self, images: np.ndarray) -> np.ndarray:
        """One batch, of ``self.batch`` images if that is set."""


class CellPredictor(Predictor):
    """A MindSpore cell from pixels to logits, or from normalised images if ``normalized`` makes those from pixels."""

    def __init__(
        self,
        cell: Callable[[Any], Any],
        preprocessing: Preprocessing,
        classes: Sequence[str],
        batch: int | None,
        normalized: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        from mindspore import Tensor

        super().__init__(preprocessing, classes, batch)
        self._cell, self._tensor, self._normalized = cell, Tensor, normalized

    @property
    def network(self) -> Any:
        """The network without its normalisation, to build another graph around; None for a compiled file."""
        return getattr(self._cell, "network", None)

    def answer(self, images: np.ndarray) -> np.ndarray:
        taken = self._normalized(images) if self._normalized else images
        return self._cell(self._tensor(taken)).asnumpy()


class OnnxPredictor(Predictor):
    """An ONNX file, through onnxruntime on the CPU."""

    def __init__(self, path: Path, described: Description, source: str) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError(f"{source}: an ONNX file needs onnxruntime, which is not installed: {EXTRA}") from None
        super().__init__(described.preprocessing, described.classes, described.batch)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        # Threads that wait actively for the next batch are a tenth faster in a lone loop, but keep decoding, other requests and
        # other programs from their cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base class
            raise UserError(f"{source}: {path} could not be loaded ({str(error).splitlines()[0]}).") from None
        self._input, self._output = described.input.name, described.output.name

    def answer(self, images: np.ndarray) -> np.ndarray:
        taken = images if self.preprocessing.in_graph else normalize(images, self.preprocessing)
        return self._session.run([self._output], {self._input: taken})[0]


def normalize(images: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """uint8 [B, H, W, C] to float32 [B, C, H, W], as ``deit.engine.normalize.Normalize`` on the device."""
    scale, shift = scale_and_shift(preprocessing.mean, preprocessing.std)
    return np.ascontiguousarray((images.astype(np.float32) * scale + shift).transpose(0, 3, 1, 2))


def scale_and_shift(mean: Sequence[float], std: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(x / 255 - mean) / std as x * scale + shift, float32 [C] each."""
    scale = np.array([1 / (255 * s) for s in std], np.float32)
    return scale, np.array([-m / s for m, s in zip(mean, std, strict=True)], np.float32)


def preprocessing_of(config: RunConfig, in_graph: bool = False) -> Preprocessing:
    """The preprocessing of a configuration's evaluation."""
    data = config.data
    return Preprocessing(
        in_graph,
        config.model.img_size,
        data.crop_pct,
        data.interpolation,
        [*map(float, data.mean)],
        [*map(float, data.std)],
        data.background,
    )


def open_network(
    config: RunConfig, weights: Mapping[str, np.ndarray], classes: Sequence[str], batch: int | None, source: str
) -> Predictor:
    """The network of ``config``, in its precision, with ``weights`` (MindSpore's names, from ``source``).

    Each new batch size is compiled; a fixed ``batch`` avoids that.
    """
    from deit.engine.network import Answer, build_network
    from deit.engine.normalize import Normalize
    from deit.models.weights import load_weights

    network = build_network(config)
    load_weights(network, weights, source=source)
    cell = Answer(network, Normalize(config.data.mean, config.data.std))
    return CellPredictor(cell, preprocessing_of(config), classes, batch)


def open_export(folder: Path, source: str, batch: int | None = None) -> Predictor:
    """The network of an exported folder, called ``source`` (such as ``export=FOLDER``) in messages.

    ``batch`` is the batch size for a file that takes any; None passes any number. Raises UserError if the folder is not an
    export, is damaged, or cannot be used on this machine.
    """
    described = description.read(folder, source)
    path = folder / described.file
    predictor = {"mindir": _open_mindir, "onnx": OnnxPredictor, "safetensors": _open_weights, "air": _open_air}[
        described.export_format
    ](path, described, source)
    predictor.batch = predictor.batch or batch
    return predictor


def _open_mindir(path: Path, described: Description, source: str) -> Predictor:
    from deit.engine.mindir import load_graph

    cell, preprocessing = load_graph(path, source), described.preprocessing
    host = None if preprocessing.in_graph else lambda images: normalize(images, preprocessing)
    return CellPredictor(cell, preprocessing, described.classes, described.batch, host)


def _open_weights(path: Path, described: Description, source: str) -> Predictor:
    """Computes in float32, even if the weights are stored in float16."""
    from deit.engine.network import Answer
    from deit.engine.normalize import Normalize
    from deit.models.deit import build_model
    from deit.models.weights import load_weights
    from deit.weights.read import read_weights

    network = build_model(described.model, described.num_classes)
    load_weights(network, read_weights(path), source=f"{source}: {path}")
    preprocessing = described.preprocessing
    cell = Answer(network, Normalize(preprocessing.mean, preprocessing.std))
    return CellPredictor(cell, preprocessing, described.classes, described.batch)


def _open_air(path: Path, described: Description, source: str) -> Predictor:
    raise UserError(f"{source}: {path} is an AIR file, which only Ascend's own tools (ATC) read; export a MINDIR or ONNX file.")
