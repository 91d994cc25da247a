"""All that can be found wrong before anything is started or written: hardware, data, checkpoints, teacher.

``prepare`` also fills in what only this machine can tell: the device behind ``auto``, the number of classes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deit import plan
from deit.config import rules
from deit.config.schema import DistillConfig, ModelConfig, RunConfig
from deit.data.datasets import check_images, open_dataset
from deit.errors import UserError
from deit.launching import hardware
from deit.models.shapes import parameter_shapes
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory, read_json
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
        _check_checkpoint(config)
    if config.distill.type != "none":
        config = dataclasses.replace(config, distill=_with_teacher(config))
    return config


def _with_data(config: RunConfig) -> RunConfig:
    """Open the data, decode a sample of it, and count the classes."""
    data = config.data
    if data.root is not None:
        data = dataclasses.replace(data, root=str(Path(data.root).expanduser().resolve()))
    validation = open_dataset(data, train=False)
    check_images(validation)
    classes = validation.classes
    if config.task.name == "train":
        training = open_dataset(data, train=True)
        check_images(training)
        classes = training.classes
        if plan.steps_per_epoch(config, len(training)) == 0:
            raise UserError(rules.too_few_images(config, len(training)))
    return dataclasses.replace(config, data=dataclasses.replace(data, num_classes=len(classes)))


def _check_checkpoint(config: RunConfig) -> None:
    assert config.checkpoint is not None and config.data.num_classes is not None
    path = Path(config.checkpoint)
    shapes = parameter_shapes(config.model, config.data.num_classes)
    if not path.exists():
        raise UserError(f"checkpoint={path}: there is no such file or folder.")
    if not path.is_dir():
        checkpoint.check_weights(path, shapes, config.model.name, "checkpoint")
        return
    files = checkpoint.read_state(path)["files"]
    for name in ("model.safetensors", "ema.safetensors"):
        if name in files:
            checkpoint.check_weights(path / name, shapes, config.model.name, "checkpoint")


def _with_teacher(config: RunConfig) -> DistillConfig:
    """Resolve ``distill.teacher`` to a checkpoint folder whose model fits the student's images and classes."""
    text = config.distill.teacher
    assert text is not None
    path = Path(text)
    if not (path / checkpoint.STATE).is_file():
        run = find_run(text, "distill.teacher", config.runs_dir, config.tracking.uri)
        path = best_checkpoint(run, "distill.teacher")
    state = checkpoint.read_state(path)
    model = ModelConfig(**state["model"])
    for key, found, needed in (
        ("model.img_size", model.img_size, config.model.img_size),
        ("data.num_classes", state["num_classes"], config.data.num_classes),
    ):
        if found != needed:
            raise UserError(f"distill.teacher={text}: the teacher has {key}={found}, the student {needed}. They must be equal.")
    return dataclasses.replace(config.distill, teacher=str(path.resolve()))


def best_checkpoint(run: RunDirectory, key: str) -> Path:
    """The run's best checkpoint, of the moving average where there is one."""
    best = read_json(run.best) or {}
    for prefix in ("val_ema", "val"):
        if prefix in best:
            return run.checkpoints / best[prefix]["checkpoint"]
    raise UserError(f"{key}={run}: this run has no checkpoint yet.")
