"""A trained network for use from Python, such as in a notebook."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deit.config import frozen
from deit.config.schema import RunConfig
from deit.config.tasks import PredictTask, expect
from deit.errors import UserError
from deit.inference.model_source import class_names, open_predictor, shown_names
from deit.library.process_state import environment_kept, graphs
from deit.machine.python import python_environment
from deit.notes import note
from deit.text import line_to_type

if TYPE_CHECKING:
    from deit.exports.predictor import Predictor

# Numbers of images that are computed at once; MindSpore compiles each once, which takes seconds.
SIZES = (1, 8, 32)


class Model:
    """What ``load_model`` returns.

    ``classes`` are the names by label; ``img_size`` is the side of the network's input in pixels, or its height and width;
    ``source`` is the weight file or the exported folder; ``config`` is the configuration, with which ``task=predict`` would use
    it. ``known_classes`` is None if the names are not stored with the weights; ``classes`` are then numbers.
    """

    def __init__(self, config: RunConfig) -> None:
        task = expect(config.task, PredictTask)
        assert task.model is not None and config.data.num_classes is not None
        self.config = config
        self.source = Path(task.model)
        self.known_classes = class_names(task, config.data.num_classes)
        self.classes = shown_names(self.known_classes, None, config.data.num_classes)
        with environment_kept():
            import deit.data.decode  # noqa: F401  # which imports OpenCV
        with self.computing():
            self.predictor: Predictor = open_predictor(config, self.source, str(self.source), self.classes, batch=None)
        self._sizes = SIZES if self.predictor.batch is None else (self.predictor.batch,)

    @property
    def img_size(self) -> int | list[int]:
        return self.predictor.preprocessing.img_size

    def __repr__(self) -> str:
        return f"<Model {self.config.model.name}, {len(self.classes)} classes, {self.source}>"

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """float32 [N, K] for the network's input, uint8 [N, H, W, C] of ``img_size``; ``predict`` makes it."""
        found, start = [np.empty((0, len(self.classes)), np.float32)], 0
        with self.computing():
            while start < len(pixels):
                self.predictor.batch = next((size for size in self._sizes if size >= len(pixels) - start), self._sizes[-1])
                part = pixels[start : start + self.predictor.batch]
                found.append(self.predictor(part))
                start += len(part)
        return np.concatenate(found)

    def computing(self) -> contextlib.AbstractContextManager[None]:
        """MindSpore's state while it computes; an ONNX file does without MindSpore."""
        return contextlib.nullcontext() if (self.source / "model.onnx").is_file() else graphs(self.config.hardware)


def load_model(
    model: str | os.PathLike[str],
    *,
    which: str = "best",
    weights: str = "auto",
    device: str = "auto",
    runs_dir: str | os.PathLike[str] = "runs",
    weights_dir: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
    settings: Sequence[str] = (),
) -> Model:
    """Load a trained network for ``predict`` and ``evaluate``.

    ``model`` is what ``task.model=`` accepts: a run directory, ``last`` (the newest training below ``runs_dir``), an MLflow run
    id (looked up at ``tracking_uri``), a checkpoint folder, a file of weights (.safetensors, .pth, .ckpt), an official name
    such as ``deit_small_patch16_224`` (in ``weights_dir``), or a folder of ``task=export`` (MINDIR, ONNX, safetensors).

    ``which``: the ``best`` or the ``last`` checkpoint of a run. ``weights``: ``raw``, ``ema``, or the better one (``auto``).
    ``device``: ``cpu``, ``ascend``, ``gpu``; ``auto`` takes an Ascend card if there is one. ``settings`` are more keys, as on
    the command line: ``["precision=fp32"]``.

    Neither signals nor the environment of the process are changed. Raises UserError, with what is allowed, if there is no such
    model or it cannot be used here. Takes some seconds: MindSpore is imported, and compiles at the first use.
    """
    given = {
        "task.model": os.fspath(model),
        "task.which": None if which == "best" else which,
        "task.weights": None if weights == "auto" else weights,
        "hardware.target": None if device == "auto" else device,
        "runs_dir": None if os.fspath(runs_dir) == "runs" else os.fspath(runs_dir),
        "weights_dir": None if weights_dir is None else os.fspath(weights_dir),
        "tracking.uri": tracking_uri,
    }
    typed = [shlex.split(line_to_type(key, value))[0] for key, value in given.items() if value is not None]
    return Model(_configuration([*typed, *settings]))


def _configuration(typed: list[str]) -> RunConfig:
    command = [sys.executable, "-m", "deit.model_config", *typed]
    ended = subprocess.run(command, env=python_environment(), capture_output=True, text=True, check=False)
    if ended.returncode:
        raise UserError(ended.stderr.strip().replace("task.model", "model"), exit_code=ended.returncode)
    for line in ended.stderr.splitlines():
        note(line.removeprefix("note: "))
    values: dict[str, Any] = json.loads(ended.stdout)
    return frozen.from_dict(values)
