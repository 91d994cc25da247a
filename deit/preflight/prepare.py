"""All that can be found wrong before anything is started or written: hardware, data, checkpoints, teacher.

``prepare`` also fills in what only this machine can tell: the device behind ``auto``, the number of classes.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

from deit.commands import compare_models, convert, report
from deit.compose import rules
from deit.config.addresses import is_remote
from deit.config.schema import RunConfig
from deit.config.tasks import CompareTask, EvaluateTask, ExportTask, InferenceTask, PreviewTask
from deit.data.datasets import check_images, open_dataset
from deit.data.source import aligned
from deit.errors import UserError
from deit.exports.origin import check_fit, find_origin, output_folder
from deit.exports.predictor import EXTRA
from deit.machine import cards
from deit.preflight import networks
from deit.preflight.disk_space import check_space
from deit.preflight.pretrained import begins_pretrained, with_pretrained
from deit.preflight.teacher_weights import resolve_teacher
from deit.preflight.tracking_store import check_tracking
from deit.preflight.unfinished import check_unfinished
from deit.recipe import plan
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.storage.data_cache import stage
from deit.weights.choice import LABELS
from deit.weights.find import files_of_checkpoint
from deit.weights.read import names_of
from deit.weights.whole import recipe_of, require_exact


def prepare(config: RunConfig, *, here: bool = True) -> RunConfig:
    """The configuration with every open question answered. Raises UserError for the first thing amiss.

    With ``here`` False it will run on another machine, so that the cards of this one are not looked at.
    """
    if config.task.name == "convert":
        convert.check(config)
        return config
    if config.task.name == "report":
        report.check(config)
        return config
    if config.task.name in ("preprocess", "postprocess"):
        from deit.commands import offline  # here: it brings the image libraries

        offline.check(config)
        return config
    if config.task.name in ("check_data", "pack"):  # to open and read the data is the task itself
        return config
    if config.task.name == "sync":  # alone it does not come here
        raise UserError("task=sync is no trial of a sweep; it sends all runs by itself if run= is left out.")
    if config.task.name == "register":
        raise UserError("task=register is no trial of a sweep: it makes one version at a time; call it alone.")
    if isinstance(config.task, ExportTask):
        _check_tools(config.task)
    config = alone(config)
    check_tracking(config)
    if here:
        config = dataclasses.replace(config, hardware=cards.resolve(config.hardware))
        cards.check(config.hardware)
    # Some rules depend on the device, which is known only now if it was `auto`.
    broken = rules.problems(config)
    if broken:
        raise UserError("\n".join(broken))
    if isinstance(config.task, InferenceTask):
        return networks.resolved(config)
    if isinstance(config.task, CompareTask):
        return compare_models.resolved(config if config.task.input is not None else _with_images_to_compare(config))
    config = _with_data_of_recipe(config)
    if config.task.name == "evaluate":
        config = _with_checkpoint(config)
    if isinstance(config.task, ExportTask):
        config = _with_origin(config, config.task)
    if begins_pretrained(config):
        config = with_pretrained(config)
    if config.task.name == "train" and config.distill.type != "none":
        config = dataclasses.replace(config, distill=resolve_teacher(config))
    if config.resume is not None:
        check_unfinished(config)
    if config.task.name == "train":
        check_space(config)
    return config


def alone(config: RunConfig) -> RunConfig:
    """The configuration of a preview or an export put on one CPU process (AIR: one Ascend card), that of a prediction or a
    comparison on one card; any other as it is.

    The first two compute next to nothing. So the recipe of eight cards can be looked at, and what it has trained exported, on a
    machine that has none, and without disturbing one that trains. A preview's ``task.ranks`` keeps how many processes share
    the training's images. An export brings its own precision, and the attention that every device has.
    """
    if isinstance(config.task, InferenceTask):
        return _on_one_card(config, [] if config.task.model is None else [config.task.model])
    if isinstance(config.task, CompareTask):
        return _on_one_card(config, config.task.models)
    if not isinstance(config.task, (PreviewTask, ExportTask)):
        return config
    on_card = isinstance(config.task, ExportTask) and config.task.format == "air"
    ranks = plan.ranks(config)
    one = dataclasses.replace(
        config.hardware,
        target="ascend" if on_card else "cpu",
        cards=1,
        nodes=1,
        node_rank=None,
        master_addr=None,
        master_port=None,
        card_ids=config.hardware.card_ids if on_card else None,
        rank_table=None,
        jit=True if isinstance(config.task, ExportTask) else config.hardware.jit,
    )
    config = dataclasses.replace(config, hardware=one)
    if isinstance(config.task, PreviewTask):
        return dataclasses.replace(config, task=dataclasses.replace(config.task, ranks=ranks))
    return dataclasses.replace(config, model=dataclasses.replace(config.model, attention="plain"))


def _on_one_card(config: RunConfig, models: list[str]) -> RunConfig:
    """The hardware of the run or the command, one card of it; ONNX files need none."""
    onnx = bool(models) and all(map(networks.is_onnx, models))
    ids = None if onnx or not config.hardware.card_ids else config.hardware.card_ids[:1]
    one = dataclasses.replace(
        config.hardware, cards=1, nodes=1, node_rank=None, master_addr=None, master_port=None, card_ids=ids, rank_table=None
    )
    return dataclasses.replace(config, hardware=dataclasses.replace(one, target="cpu") if onnx else one)


_seen: dict[str, tuple[int, int]] = {}  # (classes, training images) of data already looked at by this process


def _with_data(config: RunConfig) -> RunConfig:
    """Open the data, decode a sample of it, and count the classes. The trials of a sweep share one look."""
    data = config.data
    if data.root is not None and is_remote(data.root):
        stage(data)
    elif data.root is not None:
        data = dataclasses.replace(data, root=str(Path(data.root).resolve()))
    trains = config.task.name in ("train", "preview")
    key = repr((data, trains))
    if key not in _seen:
        validation = open_dataset(data, train=False)
        check_images(validation, data.on_bad_image)
        training = open_dataset(data, train=True) if trains else None
        if training is not None:
            check_images(training, data.on_bad_image)
        _seen[key] = (len(validation.classes), 0 if training is None else len(training))
    classes, images = _seen[key]
    if trains and plan.steps_per_epoch(config, images) == 0:
        raise UserError(rules.too_few_images(config, images))
    return dataclasses.replace(config, data=dataclasses.replace(data, num_classes=classes))


def _with_data_of_recipe(config: RunConfig) -> RunConfig:
    """``_with_data``, whose refusal says where the recipe is if ``checkpoint`` is in a run."""
    try:
        _check_classes(config)
        return _with_data(config)
    except UserError as error:
        recipe = recipe_of(Path(config.checkpoint).resolve()) if config.checkpoint is not None else []
        raise UserError(" ".join([str(error), *(f"{text}." for text in recipe)]), exit_code=error.exit_code) from None


def _check_classes(config: RunConfig) -> None:
    """Compare the classes of weights that are to be evaluated or exported with those of the data, by name."""
    if not isinstance(config.task, EvaluateTask | ExportTask):
        return
    if config.run is not None:
        key, files = "run", checkpoint.weights_of_run(RunDirectory(config.run), config.task.which)
    else:
        assert config.checkpoint is not None
        key, files = "checkpoint", files_of_checkpoint(config.checkpoint, config)
    known = names_of(next(iter(files.values())))
    if known is not None:
        found = open_dataset(dataclasses.replace(config.data, num_classes=None), train=False)
        aligned(found, known, f"{key}={getattr(config, key)}")


def _with_images_to_compare(config: RunConfig) -> RunConfig:
    """``_with_data``, whose refusal says where the images of a comparison come from: not every model brings a run."""
    try:
        return _with_data(config)
    except UserError as error:
        raise UserError(
            f"{error} Compared are the validation images of this data; task.input=FOLDER gives class folders instead."
        ) from None


def _with_checkpoint(config: RunConfig) -> RunConfig:
    """Compare what is to be evaluated with the model, without reading the weights themselves."""
    assert isinstance(config.task, EvaluateTask)
    if config.run is not None:
        key, files = "run", checkpoint.weights_of_run(RunDirectory(config.run), config.task.which)
    else:
        assert config.checkpoint is not None
        key, files = "checkpoint", files_of_checkpoint(config.checkpoint, config)
        found = files["val"]
        folder = Path(config.checkpoint).is_dir()
        config = dataclasses.replace(config, checkpoint=str(found.parent if folder else found))
    for prefix, file in files.items():
        require_exact(file, config.model, config.data.num_classes or 0, key, LABELS[prefix])
    return config


def _check_tools(task: ExportTask) -> None:
    """Whether this machine can write the format at all."""
    if task.format == "air" and not cards.card_ids("ascend"):
        raise UserError(
            "task.format=air: MindSpore writes AIR on a machine with an Ascend card only, and this one has none. Give the same "
            "command there, where the run directory can be read; or task.format=mindir, which MindSpore Lite takes too."
        )
    missing = [name for name in ("onnx", "onnxruntime") if task.format == "onnx" and importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"task.format=onnx needs {' and '.join(missing)}, not installed here: {EXTRA}")


def _with_origin(config: RunConfig, task: ExportTask) -> RunConfig:
    """Find the weights to export, compare them with the model by their header, and settle where the export goes."""
    origin = find_origin(config)
    check_fit(config, origin)
    task = dataclasses.replace(task, weights=origin.weights, output=str(output_folder(config, origin)))
    if config.checkpoint is not None:
        config = dataclasses.replace(config, checkpoint=str(origin.file))
    return dataclasses.replace(config, task=task)
