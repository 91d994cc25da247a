"""An exported folder as an MLflow model: the file and its model.json, code, signature, example, requirements.

It needs no tracking store. Before it goes to one it is loaded and tested in a separate process, which can import only the
modules of this project that are stored with the model.
"""

from __future__ import annotations

import base64
import importlib.metadata
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Read by MLflow at its import, or when it saves: a uv project in the working directory has nothing to do with the model.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"

import mlflow.pyfunc
import pandas
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array, Object, Property

from deit.errors import UserError
from deit.exports import description
from deit.exports.description import Description
from deit.exports.predictor import EXTRA
from deit.serving import code, model

LOADER = "deit.serving.model"
TIMEOUT = 600  # seconds for the first response, including the import of MindSpore and compilation
# The distributions that the stored code imports.
REQUIRED = ("mlflow", "numpy", "opencv-python-headless", "pillow", "pyyaml")
REQUIRED_BY_FORMAT = {"mindir": ("mindspore",), "onnx": ("onnxruntime",)}
# Modules that only one format needs, and that are imported late.
MODULES_BY_FORMAT = {"mindir": ("deit.engine.mindir",), "onnx": ()}


@contextmanager
def packaged(export: Path, described: Description, metadata: dict[str, Any]) -> Iterator[Path]:
    """A temporary folder with the MLflow model of a verified export, which has been loaded and tested.

    Raises UserError (exit code 1) if the test fails.
    """
    with tempfile.TemporaryDirectory(prefix="deit_model_") as temporary:
        base = Path(temporary)
        for name in (described.file, description.FILE):
            (base / "export").mkdir(exist_ok=True)
            shutil.copyfile(export / name, base / "export" / name)
        code.copy_modules(code.closure(LOADER, *MODULES_BY_FORMAT[described.export_format]), base / "code")
        folder = base / "model"
        mlflow.pyfunc.save_model(
            folder,
            loader_module=LOADER,
            data_path=str(base / "export"),
            code_paths=[str(base / "code" / code.PACKAGE.name)],
            model_config=model.CONFIG,
            signature=signature(),
            input_example=pandas.DataFrame({model.COLUMN: [example_text(described)]}),
            pip_requirements=requirements(described.export_format),
            metadata=metadata,
        )
        prove(folder, described)
        yield folder


def signature() -> ModelSignature:
    """A column of images, each base64 text or an array of pixels, hence of any type: the model itself checks them."""
    place = [Property("label", DataType.long), Property("class", DataType.string)]
    place.append(Property("probability", DataType.double, required=False))
    outputs = [
        ColSpec(DataType.long, "label"),
        ColSpec(DataType.string, "class"),
        ColSpec(DataType.double, "probability", required=False),
        ColSpec(Array(Object(place)), "top"),
        ColSpec(Array(DataType.double), "probabilities", required=False),
    ]
    kinds = {int: DataType.long, bool: DataType.boolean}
    params = [ParamSpec(name, kinds[type(value)], value) for name, value in model.PARAMS.items()]
    return ModelSignature(Schema([ColSpec(AnyType(), model.COLUMN)]), Schema(outputs), ParamSchema(params))


def requirements(export_format: str) -> list[str]:
    """The exact versions that are installed here. Raises UserError if a required one is missing."""
    try:
        return [f"{name}=={importlib.metadata.version(name)}" for name in (*REQUIRED, *REQUIRED_BY_FORMAT[export_format])]
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(f"an {export_format} model is served with {error.name}, which is not installed here: {EXTRA}") from None


def example_text(described: Description) -> str:
    """A synthetic picture of the network's size as base64 text of a PNG."""
    down, across = (np.linspace(0, 255, side).astype(np.uint8) for side in described.preprocessing.size)
    pixels = np.stack(np.broadcast_arrays(down[:, None], across[None, :], np.uint8(128)), axis=2)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def prove(folder: Path, described: Description) -> None:
    """Load the model in another process and run its example. Raises UserError (exit code 1) if it fails."""
    script = Path(__file__).with_name("proof.py")
    # -I: the working directory and PYTHONPATH must not add missing modules. -B: the folder stays unchanged.
    command = [sys.executable, "-I", "-B", str(script), str(folder)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, cwd=folder, check=False)
        answers = json.loads(ended.stdout.splitlines()[-1]) if ended.returncode == 0 and ended.stdout else None
    except subprocess.TimeoutExpired:
        raise UserError(f"the MLflow model did not process its example within {TIMEOUT} seconds.", exit_code=1) from None
    if answers is None:
        said = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        raise UserError(f"the MLflow model cannot process its example: {said}", exit_code=1)
    if len(answers) != 1 or answers[0]["class"] not in described.classes or answers[0]["probability"] is None:
        raise UserError(f"the MLflow model returns {answers} for its example.", exit_code=1)
