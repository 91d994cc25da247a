"""All that can be found wrong before anything is started or written: hardware, data, checkpoints, teacher.

``prepare`` also fills in what only this machine can tell: the device behind ``auto``, the number of classes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deit import plan
from deit.config import rules
from deit.config.schema import EvaluateTask, PreviewTask, RunConfig
from deit.data.datasets import check_images, open_dataset
from deit.errors import UserError
from deit.launching import convert, hardware
from deit.launching.teacher import resolve_teacher
from deit.models.shapes import parameter_shapes
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.weights.find import files_of_checkpoint, find_weights
from deit.weights.fit import Fit, compare, require_exact
from deit.weights.read import read_shapes, said_of


def prepare(config: RunConfig) -> RunConfig:
    """The configuration with every open question answered. Raises UserError for the first thing amiss."""
    if config.task.name == "convert":
        convert.check(config)
        return config
    config = alone(config)
    config = dataclasses.replace(config, hardware=hardware.resolve(config.hardware))
    hardware.check(config.hardware)
    # Some rules depend on the device, which is known only now if it was `auto`.
    broken = rules.problems(config)
    if broken:
        raise UserError("\n".join(broken))
    config = _with_data(config)
    if config.task.name == "evaluate":
        config = _with_checkpoint(config)
    if begins_pretrained(config):
        config = _with_pretrained(config)
    if config.task.name == "train" and config.distill.type != "none":
        config = dataclasses.replace(config, distill=resolve_teacher(config))
    return config


def alone(config: RunConfig) -> RunConfig:
    """The configuration of a preview put on one CPU process; any other as it is.

    A preview computes next to nothing. So the recipe of eight cards can be looked at on a machine that has none, and
    without disturbing one that trains; ``task.ranks`` keeps how many processes share the training's images.
    """
    if not isinstance(config.task, PreviewTask):
        return config
    task = dataclasses.replace(config.task, ranks=plan.ranks(config))
    one = dataclasses.replace(
        config.hardware, target="cpu", cards=1, nodes=1, node_rank=None, master_addr=None, master_port=None, card_ids=None
    )
    return dataclasses.replace(config, task=task, hardware=one)


_seen: dict[str, tuple[int, int]] = {}  # (classes, training images) of data already looked at by this process


def _with_data(config: RunConfig) -> RunConfig:
    """Open the data, decode a sample of it, and count the classes. The trials of a sweep share one look."""
    data = config.data
    if data.root is not None:
        data = dataclasses.replace(data, root=str(Path(data.root).expanduser().resolve()))
    trains = config.task.name in ("train", "preview")
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


def _with_checkpoint(config: RunConfig) -> RunConfig:
    """Compare what is to be evaluated with the model, without reading the weights themselves."""
    assert isinstance(config.task, EvaluateTask)
    if config.run is not None:
        key, files = "run", checkpoint.weights_of_run(RunDirectory(config.run), config.task.which)
    else:
        assert config.checkpoint is not None
        key, files = "checkpoint", files_of_checkpoint(config.checkpoint, config)
        found = files["val"]
        folder = Path(config.checkpoint).expanduser().is_dir()
        config = dataclasses.replace(config, checkpoint=str(found.parent if folder else found))
    for file in files.values():
        require_exact(file, _shapes(config), config.model.name, key)
    return config


def begins_pretrained(config: RunConfig) -> bool:
    """Whether the training begins with ``model.pretrained``: a run that has a checkpoint goes on from that."""
    if config.task.name != "train" or config.model.pretrained is None:
        return False
    return config.resume is None or not checkpoint.complete(RunDirectory(config.resume))


def _with_pretrained(config: RunConfig) -> RunConfig:
    """Find the file of ``model.pretrained``, and refuse one that has nothing for the model."""
    text = config.model.pretrained
    assert text is not None
    path = find_weights(text, "model.pretrained", config)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, pretrained=str(path)))
    told = pretrained_fit(config)
    if told.useless:
        reasons = told.lines()[1:] + ([said] if (said := said_of(path)) else [])
        raise UserError(f"model.pretrained={text}: nothing in {path} fits {config.model.name}. " + "; ".join(reasons) + ".")
    return config


def pretrained_fit(config: RunConfig) -> Fit:
    """How the file of ``model.pretrained`` (resolved) fits the model, by its header alone."""
    assert config.model.pretrained is not None
    try:
        found, _ = read_shapes(Path(config.model.pretrained))
    except UserError as error:
        raise UserError(f"model.pretrained={error}") from None
    return compare(found, _shapes(config))


def _shapes(config: RunConfig) -> dict[str, tuple[int, ...]]:
    assert config.data.num_classes is not None  # the data has been looked at
    return parameter_shapes(config.model, config.data.num_classes)
