"""All that can be found wrong before anything is started or written: hardware, data, checkpoints, teacher.

``prepare`` also fills in what only this machine can tell: the device behind ``auto``, the number of classes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deit import plan
from deit.config import rules
from deit.config.schema import DistillConfig, EvaluateTask, ModelConfig, RunConfig
from deit.data.datasets import check_images, open_dataset
from deit.errors import UserError
from deit.launching import hardware
from deit.models.shapes import parameter_shapes
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.runs.find import find_run


def prepare(config: RunConfig) -> RunConfig:
    """The configuration with every open question answered. Raises UserError for the first thing amiss."""
    config = dataclasses.replace(config, hardware=hardware.resolve(config.hardware))
    hardware.check(config.hardware)
    # Some rules depend on the device, which is known only now if it was `auto`.
    broken = rules.problems(config)
    if broken:
        raise UserError("\n".join(broken))
    config = _with_data(config)
    if config.checkpoint is not None:
        config = dataclasses.replace(config, checkpoint=str(Path(config.checkpoint).resolve()))
    if config.task.name == "evaluate":
        _check_weights(config)
    if config.distill.type != "none":
        config = dataclasses.replace(config, distill=_with_teacher(config))
    return config


_seen: dict[str, tuple[int, int]] = {}  # (classes, training images) of data already looked at by this process


def _with_data(config: RunConfig) -> RunConfig:
    """Open the data, decode a sample of it, and count the classes. The trials of a sweep share one look."""
    data = config.data
    if data.root is not None:
        data = dataclasses.replace(data, root=str(Path(data.root).expanduser().resolve()))
    trains = config.task.name == "train"
    key = repr((data, trains))
    if key not in _seen:
        validation = open_dataset(data, train=False)
        check_images(validation)
        training = open_dataset(data, train=True) if trains else None
        if training is not None:
            check_images(training)
        _seen[key] = (len(validation.classes), 0 if training is None else len(training))
    classes, images = _seen[key]
    if trains and plan.steps_per_epoch(config, images) == 0:
        raise UserError(rules.too_few_images(config, images))
    return dataclasses.replace(config, data=dataclasses.replace(data, num_classes=classes))


def _check_weights(config: RunConfig) -> None:
    """Compare what is to be evaluated with the model, without reading the weights themselves."""
    assert isinstance(config.task, EvaluateTask) and config.data.num_classes is not None
    shapes = parameter_shapes(config.model, config.data.num_classes)
    if config.run is not None:
        key, files = "run", checkpoint.weights_of_run(RunDirectory(config.run), config.task.which)
    else:
        assert config.checkpoint is not None
        key, path = "checkpoint", Path(config.checkpoint)
        if not path.exists():
            raise UserError(f"checkpoint={path}: there is no such file or folder.")
        files = checkpoint.weights_of_folder(path) if path.is_dir() else {"val": path}
    for file in files.values():
        checkpoint.check_weights(file, shapes, config.model.name, key)


def _with_teacher(config: RunConfig) -> DistillConfig:
    """Resolve ``distill.teacher`` to a checkpoint folder whose model fits the student's images and classes."""
    text = config.distill.teacher
    assert text is not None
    path = Path(text)
    if not (path / checkpoint.STATE).is_file():
        run = find_run(text, "distill.teacher", config.runs_dir, config.tracking.uri)
        best = checkpoint.weights_of_run(run, "best")
        path = best.get("val_ema", best["val"]).parent
    state = checkpoint.read_state(path)
    model = ModelConfig(**state["model"])
    for key, found, needed in (
        ("model.img_size", model.img_size, config.model.img_size),
        ("data.num_classes", state["num_classes"], config.data.num_classes),
    ):
        if found != needed:
            raise UserError(f"distill.teacher={text}: the teacher has {key}={found}, the student {needed}. They must be equal.")
    return dataclasses.replace(config.distill, teacher=str(path.resolve()))
