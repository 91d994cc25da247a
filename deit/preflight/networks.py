"""What the tasks predict, explain and preprocess need before they start: the network that is meant, and the images.

An ONNX file is predicted with here, in the launcher's own process: it needs no MindSpore and no worker.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

from deit.config.schema import ModelConfig, RunConfig
from deit.config.tasks import InferenceTask, PostprocessTask, PredictTask
from deit.console import console
from deit.errors import UserError
from deit.exports import description
from deit.inference.images import find_images
from deit.inference.model_source import class_names, export_folder
from deit.inference.writing import check_output
from deit.lookup.weight_files import find_weights
from deit.machine import signals
from deit.models.recognise import recognise
from deit.progress_bar import progress_bar
from deit.runs import checkpoint, status
from deit.runs.directory import RunDirectory
from deit.weights.choice import choose
from deit.weights.find import files_of_checkpoint
from deit.weights.naming import to_mindspore
from deit.weights.read import read_shapes
from deit.weights.whole import check_classifier


def resolved(config: RunConfig) -> RunConfig:
    """The configuration with ``task.model`` as a path, and with the model and the preprocessing that belong to it.

    Raises UserError where there is no such network, it does not fit the model, or there are no images.
    """
    return _with_images(with_network(config))


def with_network(config: RunConfig) -> RunConfig:
    """The same, without a look at the images."""
    task = config.task
    assert isinstance(task, InferenceTask)
    default_name = config.name == config.model.name
    if task.model is not None:
        folder = export_folder(task.model)
        config = _of_export(config, folder) if folder is not None else _of_weights(config)
    elif config.run is not None:
        config = _of_files(config, "run", checkpoint.weights_of_run(RunDirectory(config.run), task.which))
    elif config.checkpoint is not None:
        config = _of_files(config, "checkpoint", files_of_checkpoint(config.checkpoint, config))
    if default_name:
        config = dataclasses.replace(config, name=config.model.name)
    return config


def is_onnx(model: str) -> bool:
    """Whether ``task.model`` is an exported ONNX file."""
    folder = export_folder(model)
    return folder is not None and (folder / "model.onnx").is_file()


def intention(config: RunConfig) -> str:
    """What the task would do, as a sentence; nothing of it is looked for."""
    task = config.task
    if isinstance(task, PostprocessTask):
        return f"would judge the results in {task.results} of the inputs in {task.input}"
    assert isinstance(task, InferenceTask)
    given = {"task.model": task.model, "run": config.run, "checkpoint": config.checkpoint}
    of = "".join(f" with {key}={value}" for key, value in given.items() if value is not None)
    what = {"predict": "predict the classes of", "explain": "show the attention on", "preprocess": "write the inputs of"}
    return f"would {what[task.name]} {task.input}{of}"


def predict_onnx(run: RunDirectory, config: RunConfig) -> int:
    """Predict in this process and show what was found; returns the exit code.

    Raises UserError as ``write_predictions`` does.
    """
    from deit.inference.prediction import predict
    from deit.launching.display import results_table

    now = status.Status(state=status.RUNNING, launcher_pid=os.getpid())
    status.write(run, now)

    def progress(done: int, total: int) -> None:
        bar.set(done, total)
        if got:
            raise KeyboardInterrupt

    with signals.noted() as got, status.failure_recorded(run, now):
        try:
            with progress_bar("images") as bar:
                now.results = predict(run, config, progress)
        except KeyboardInterrupt:
            how = f"stopped by {signal.Signals(got[0]).name}"
            console().print(f"{how}; no predictions were written")
            return status.end(run, now, status.INTERRUPTED, 128 + got[0], how)
    console().print(results_table(run, now.results, config.task.name))
    console().print(f"the run directory is {run}")
    return status.end(run, now, status.FINISHED, 0)


def _of_export(config: RunConfig, folder: Path) -> RunConfig:
    assert isinstance(config.task, InferenceTask)
    found = description.read(folder, f"task.model={config.task.model}")
    if config.task.name == "explain" and found.export_format != "safetensors":
        raise UserError(
            f"task.model={config.task.model}: an exported {found.export_format} file shows no attention; give the run, a "
            "checkpoint or its weights."
        )
    kept = {key: getattr(found.preprocessing, key) for key in ("crop_pct", "interpolation", "mean", "std")}
    source = folder / found.file if config.task.name == "explain" else folder
    return _with_network(config, source, found.model, found.num_classes, **kept)


def _of_weights(config: RunConfig) -> RunConfig:
    """A file of weights, or a checkpoint folder outside a run: they describe their model."""
    assert isinstance(config.task, InferenceTask) and config.task.model is not None
    text = config.task.model
    path = Path(text)
    if (path / checkpoint.STATE).is_file():
        file = choose(checkpoint.weights_of_folder(path.resolve()), config.task.weights, f"task.model={text}").file
    else:
        file = find_weights(text, "task.model", config)
    shapes, metadata = read_shapes(file)
    model, classes = recognise(to_mindspore(shapes), metadata, f"task.model={text}")
    if not isinstance(model, ModelConfig):
        raise UserError(f"task.model={text}: is a RegNetY, which can only teach; allowed are weights of a DeiT.")
    return _with_network(config, file, model, classes)


def _of_files(config: RunConfig, key: str, files: dict[str, Path]) -> RunConfig:
    assert isinstance(config.task, InferenceTask)
    choice = choose(files, config.task.weights, f"{key}={getattr(config, key)}")
    classes = check_classifier(choice.file, config.model, key, choice.weights)
    config = dataclasses.replace(config, task=dataclasses.replace(config.task, weights=choice.weights))
    return _with_network(config, choice.file.resolve(), config.model, classes)


def _with_network(config: RunConfig, source: Path, model: ModelConfig, classes: int, **preprocessing: Any) -> RunConfig:
    assert isinstance(config.task, InferenceTask)
    return dataclasses.replace(
        config,
        task=dataclasses.replace(config.task, model=str(source)),
        model=dataclasses.replace(model, pretrained=None),
        data=dataclasses.replace(config.data, num_classes=classes, **preprocessing),
    )


def _with_images(config: RunConfig) -> RunConfig:
    """Look whether there are images, and make the paths absolute: the worker works elsewhere."""
    task = config.task
    assert isinstance(task, InferenceTask)
    task = dataclasses.replace(
        task,
        input=str(Path(task.input).resolve()),
        classes=None if task.classes is None else str(Path(task.classes).resolve()),
    )
    classes = config.data.num_classes
    if classes is not None:
        find_images(task.input, "task.input", class_names(task, classes), classes)
    if isinstance(task, PredictTask) and task.output is not None:
        task = dataclasses.replace(task, output=str(check_output(task.output, "task.output")))
    return dataclasses.replace(config, task=task)
