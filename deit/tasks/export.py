"""Export a network, read the file back, and keep it only if its results equal those of the checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn
from safetensors.numpy import save

from deit.config.schema import PrecisionConfig, RunConfig
from deit.config.tasks import ExportTask, expect
from deit.data.datasets import open_dataset
from deit.data.loader import EvalLoader
from deit.data.source import Dataset, aligned, limited
from deit.engine.mindir import save_network
from deit.engine.network import Answer, build_network
from deit.engine.normalize import Normalize
from deit.errors import UserError
from deit.exports import description
from deit.exports.description import Calibration, Description, Input, Output, Verification
from deit.exports.onnx_graph import INPUT, OUTPUT, build_onnx
from deit.exports.origin import Origin, find_origin
from deit.exports.predictor import Predictor, open_export, open_network, preprocessing_of
from deit.exports.temperature import calibrate, with_temperature
from deit.files import sha256, whole_folder
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights
from deit.runs.task_output import writing
from deit.tasks.context import Context
from deit.weights.fit import fit
from deit.weights.read import description as metadata_of
from deit.weights.read import grid_of, names_of, read_weights

# Maximum difference of a logit, relative to the largest logit (at least 1). Both are 10 to 100 times the measured differences
# (docs/inference.md): they detect errors, not rounding.
TOLERANCE = {"float32": 1e-4, "float16": 3e-2}
Weights = Mapping[str, np.ndarray]


def run(context: Context) -> dict[str, Any]:
    """Returns the facts of the export: ``folder``, ``description`` (that of model.json), ``resized``.

    The folder ``task.output`` appears when all is written and verified. Raises UserError (exit code 1) if the results differ
    from the checkpoint's, Interrupted after a signal; then nothing is left of it.
    """
    config, report = context.config, context.report
    task = expect(config.task, ExportTask)
    assert task.output is not None and config.data.num_classes is not None
    origin = find_origin(config)
    data = aligned(open_dataset(config.data, train=False), names_of(origin.file), str(origin.file))
    shapes = parameter_shapes(config.model, config.data.num_classes)
    weights, told = fit(
        read_weights(origin.file, origin.weights),
        {name: np.zeros(shape, np.float32) for name, shape in shapes.items()},
        antialias=config.model.pos_embed_antialias,
        grids=(grid_of(origin.file), config.model.grid),
    )
    resized = told.resized.get("pos_embed")
    exact = dataclasses.replace(config, precision=precision(half=False))
    checkpoint = open_network(exact, weights, data.classes, batch=None, source=str(origin.file))
    calibration = _calibration(context, exact, checkpoint, data) if task.calibrate else None
    if calibration is not None:
        weights = with_temperature(weights, calibration.temperature)
    output = Path(task.output)
    with writing(output), whole_folder(output) as folder:
        report.progress(now=True, phase=f"writing {task.format}")
        path = folder / f"model.{task.format}"
        write_network(config, weights, path, data.classes, calibration)
        described = describe(config, origin, data, path, measured=resized is None)
        described = dataclasses.replace(described, calibration=calibration)
        description.write(folder, described)
        if task.format != "air":
            report.progress(now=True, phase="comparing with the checkpoint", evaluated=0)
            temperature = 1.0 if calibration is None else calibration.temperature
            verified = _verify(context, weights, origin, data, folder, checkpoint, temperature)
            described = dataclasses.replace(described, verification=verified)
            description.write(folder, described)
    return {"folder": str(output), "resized": resized, "description": dataclasses.asdict(described)}


def _calibration(context: Context, config: RunConfig, checkpoint: Predictor, data: Dataset) -> Calibration:
    """The temperature of the network on all validation images."""
    context.report.progress(now=True, phase="calibrating", evaluated=0, images=len(data))
    logits, labels = [], []
    for batch in EvalLoader(config, data, rank=0, world=1):
        logits.append(checkpoint(batch.images)[batch.valid])
        labels.append(batch.labels[batch.valid])
        context.report.progress(evaluated=sum(map(len, labels)))
        context.stop_if_asked()
    return calibrate(np.concatenate(logits), np.concatenate(labels))


def write_network(
    config: RunConfig,
    weights: Weights,
    path: Path,
    classes: Sequence[str] | None = None,
    calibration: Calibration | None = None,
) -> None:
    """Write the network of an export's ``config`` with ``weights``, which fit its model, as ``path``.

    ``calibration`` is already part of the weights; a file that can say so gets its temperature.
    """
    task = expect(config.task, ExportTask)
    half = task.precision == "float16"
    data = config.data
    if task.format == "safetensors":
        stored = {name: value.astype(np.float16 if half else np.float32) for name, value in weights.items()}
        model = dataclasses.asdict(config.model.network())
        said = {} if calibration is None else {"temperature": repr(calibration.temperature)}
        path.write_bytes(save(stored, metadata_of(model, data.num_classes or 0, "mindspore", classes) | said))
    elif task.format == "onnx":
        pixels = (data.mean, data.std) if task.preprocess_in_graph else None
        graph = build_onnx(config.model, weights, half=half, batch=task.batch, pixels=pixels)
        path.write_bytes(graph.SerializeToString())
    else:
        cell = Answer(_network(config, weights, half), Normalize(data.mean, data.std) if task.preprocess_in_graph else None)
        save_network(cell, path, _input_shape(config), ms.uint8 if task.preprocess_in_graph else ms.float32)


def _input_shape(config: RunConfig) -> list[int | None]:
    task, sides, channels = expect(config.task, ExportTask), config.model.image_size, config.model.in_chans
    return [task.batch, *((*sides, channels) if task.preprocess_in_graph else (channels, *sides))]


def _network(config: RunConfig, weights: Weights, half: bool) -> nn.Cell:
    network = build_network(dataclasses.replace(config, precision=precision(half)), portable=True)
    if half:
        for parameter in network.get_parameters():
            parameter.set_dtype(ms.float16)
    load_weights(network, weights)
    return network


def precision(half: bool) -> PrecisionConfig:
    return PrecisionConfig("O2" if half else "O0", "float16", "none", 1.0, 1)


def describe(config: RunConfig, origin: Origin, data: Dataset, path: Path, *, measured: bool) -> Description:
    """The description of the file ``path`` for ``model.json``, before verification.

    ``measured``: the run's metrics apply to this network, because its image size is the run's.
    """
    task = expect(config.task, ExportTask)
    in_graph = task.preprocess_in_graph
    return Description(
        format=description.FORMAT,
        file=path.name,
        export_format=task.format,
        bytes=path.stat().st_size,
        sha256=sha256(path),
        model=config.model.network(),
        num_classes=len(data.classes),
        classes=list(data.classes),
        weights=origin.weights,
        precision=task.precision,
        preprocessing=preprocessing_of(config, in_graph),
        input=Input(INPUT, _input_shape(config), "uint8" if in_graph else "float32", "NHWC" if in_graph else "NCHW"),
        output=Output(OUTPUT, [task.batch, len(data.classes)], "float32"),
        run=origin.source,
        metrics=origin.metrics if measured else None,
        verification=None,
    )


def _verify(
    context: Context,
    weights: Weights,
    origin: Origin,
    data: Dataset,
    folder: Path,
    checkpoint: Predictor,
    temperature: float,
) -> Verification:
    """Compare the exported file, used as its users will, with the network of the ``checkpoint`` in float32, its logits divided
    by ``temperature``, on the same images."""
    config = context.config
    task = expect(config.task, ExportTask)
    # A batch is padded with black images, which are computed too.
    batch_size = min(config.data.eval_batch_size, task.images, len(data))
    batched = dataclasses.replace(config, data=dataclasses.replace(config.data, eval_batch_size=batch_size))
    loader = EvalLoader(batched, limited(data, task.images), rank=0, world=1)
    try:
        export = open_export(folder, f"task.output={task.output}")
    except UserError as error:
        raise UserError(f"{error} Nothing was kept.", exit_code=1) from None
    if task.format == "safetensors":
        _same_numbers(folder / "model.safetensors", weights, task.precision)
    difference, largest, agreeing, images = 0.0, 1.0, 0, 0
    for batch in loader:
        expected = checkpoint(batch.images)[batch.valid] / np.float32(temperature)
        found = export(batch.images)[batch.valid]
        if images == 0 and task.batch is None:  # also try another batch size: one image
            found[:1] = export(batch.images[:1])
        if not np.isfinite(expected).all():
            raise UserError(f"{origin.file}: the network's output is not finite.", exit_code=1)
        # NaN in the exported results must not count as a small difference.
        difference = max(difference, float(np.nan_to_num(np.abs(found - expected), nan=np.inf).max()))
        largest = max(largest, float(np.abs(expected).max()))
        agreeing += int((found.argmax(1) == expected.argmax(1)).sum())
        images += len(expected)
        context.report.progress(evaluated=images)
        context.stop_if_asked()
    tolerance = TOLERANCE[task.precision] * largest
    if difference > tolerance:
        raise UserError(
            f"task.format={task.format}: the exported file gives other results than {origin.file}: on {images} images logits "
            f"differ by up to {difference:.3g}, allowed is {tolerance:.3g}; top-1 agrees on {agreeing}. Nothing was kept.",
            exit_code=1,
        )
    return Verification(images, difference, tolerance, agreeing / images, f"checkpoint sha256 {origin.sha256}")


def _same_numbers(path: Path, weights: Weights, precision: str) -> None:
    """Check that the stored weights are read back bit for bit."""
    stored = read_weights(path)
    for name, value in weights.items():
        if not np.array_equal(stored[name], value.astype(precision).astype(np.float32), equal_nan=True):
            raise UserError(f"task.format=safetensors: {name} was read back with other values. Nothing was kept.", exit_code=1)
