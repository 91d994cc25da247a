"""The network and the images of the tasks predict, explain and preprocess, found before they start."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from deit.compose import rules
from deit.config.schema import PREPROCESSING_KEYS, ModelConfig, RunConfig
from deit.config.tasks import InferenceTask
from deit.errors import UserError
from deit.exports import description
from deit.inference.images import find_images
from deit.inference.model_source import class_names, export_folder
from deit.lookup.weight_files import find_weights
from deit.models.recognise import recognise
from deit.runs import checkpoint
from deit.weights.choice import choose
from deit.weights.find import files_to_load
from deit.weights.naming import to_mindspore
from deit.weights.read import read_shapes
from deit.weights.whole import check_classifier

Kind = TypeVar("Kind", bound=InferenceTask)


def resolved(config: RunConfig, task: InferenceTask, *, weights_alone: bool = False) -> RunConfig:
    """The configuration with ``task.model`` as a path, and with that model and its preprocessing.

    ``task`` are its own keys. ``weights_alone``: an exported graph is not enough. Raises UserError if there is no such
    network, it does not fit the model, or there are no images.
    """
    config, task = with_network(config, task, weights_alone=weights_alone)
    return with_images(config, task)


def with_network(config: RunConfig, task: Kind, *, weights_alone: bool = False) -> tuple[RunConfig, Kind]:
    """As ``resolved``, without checking the images; also returns the task's keys."""
    default_name = config.name == config.model.name
    if task.model is not None and (folder := export_folder(task.model)) is not None:
        config, task = _of_export(config, task, folder, weights_alone)
    elif task.model is not None:
        config, task = _of_weights(config, task, task.model)
    elif config.run is not None or config.checkpoint is not None:
        config, task = _of_files(config, task, *files_to_load(config, task.which))
    if default_name:
        config = dataclasses.replace(config, name=config.model.name)
    return config, task


def is_onnx(model: str) -> bool:
    """Whether ``task.model`` is an exported ONNX file."""
    folder = export_folder(model)
    return folder is not None and (folder / "model.onnx").is_file()


def _of_export(config: RunConfig, task: Kind, folder: Path, weights_alone: bool) -> tuple[RunConfig, Kind]:
    found = description.read(folder, f"task.model={task.model}")
    if weights_alone and found.export_format != "safetensors":
        raise UserError(
            f"task.model={task.model}: an exported {found.export_format} file shows no attention; give the run, a "
            "checkpoint or its weights."
        )
    kept = {key: getattr(found.preprocessing, key) for key in PREPROCESSING_KEYS}
    source = folder / found.file if weights_alone else folder
    return _with_network(config, task, source, found.model, found.num_classes, **kept)


def _of_weights(config: RunConfig, task: Kind, text: str) -> tuple[RunConfig, Kind]:
    """A weight file, or a checkpoint folder outside a run: they describe their model."""
    path = Path(text)
    if (path / checkpoint.STATE).is_file():
        file = choose(checkpoint.weights_of_folder(path.resolve()), task.weights, f"task.model={text}").file
    else:
        file = find_weights(text, "task.model", config)
    shapes, metadata = read_shapes(file)
    model, classes = recognise(to_mindspore(shapes), metadata, f"task.model={text}")
    if not isinstance(model, ModelConfig):
        raise UserError(f"task.model={text}: is a RegNetY, which can only be a teacher; allowed are weights of a DeiT.")
    return _with_network(config, task, file, model, classes)


def _of_files(config: RunConfig, task: Kind, key: str, files: dict[str, Path]) -> tuple[RunConfig, Kind]:
    choice = choose(files, task.weights, f"{key}={getattr(config, key)}")
    classes = check_classifier(choice.file, config.model, key, choice.weights)
    task = dataclasses.replace(task, weights=choice.weights)
    return _with_network(config, task, choice.file.resolve(), config.model, classes)


def _with_network(
    config: RunConfig, task: Kind, source: Path, model: ModelConfig, classes: int, **preprocessing: Any
) -> tuple[RunConfig, Kind]:
    task = dataclasses.replace(task, model=str(source))
    model = dataclasses.replace(model, pretrained=None)
    data = dataclasses.replace(config.data, num_classes=classes, **preprocessing)
    config = dataclasses.replace(config, task=task, model=model, data=data)
    if broken := rules.channels(config):
        raise UserError("\n".join(broken))
    return config, task


def with_images(config: RunConfig, task: InferenceTask) -> RunConfig:
    """Check that there are images, and make the paths absolute for the worker. Raises UserError."""
    task = dataclasses.replace(
        task,
        input=str(Path(task.input).resolve()),
        classes=None if task.classes is None else str(Path(task.classes).resolve()),
    )
    classes = config.data.num_classes
    if classes is not None:
        find_images(task.input, "task.input", class_names(task, classes), classes)
    return dataclasses.replace(config, task=task)
