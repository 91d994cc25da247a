"""Evaluate a model on labelled images from Python, with the figures of ``task=evaluate``."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deit.config import frozen
from deit.config.addresses import is_remote
from deit.config.schema import SPLIT_KEYS
from deit.errors import UserError
from deit.exports import description
from deit.inference.labelled import open_tree
from deit.library.loaded_model import Model, load_model

if TYPE_CHECKING:
    from deit.config.schema import DataConfig
    from deit.data.loader import EvalBatch
    from deit.data.source import Dataset


def evaluate(model: Model | str | os.PathLike[str], data: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """The accuracy on labelled images, a dict: ``top1``, ``top5``, ``balanced_accuracy``, ``macro_f1`` in percent, the mean
    cross entropy as ``loss``, the number of ``images``, and the expected calibration error ``ece`` in percent.

    ``model`` comes from ``load_model``, or is what that accepts. ``data`` is a folder as ``data.root`` (with ``train/`` and
    ``val/``, or packed), of which the validation images count, or a folder of class folders, which may be some of the model's
    classes; None: the validation images of the model's own run.

    The figures are those of ``task=evaluate``, digit for digit on the CPU. Raises UserError if the data cannot be read, have
    other classes than the model, or contain a damaged image (with ``load_model(..., settings=...)`` nothing is left out).
    """
    from deit.data.loader import EvalLoader

    model = model if isinstance(model, Model) else load_model(model)
    dataset = _opened(model, data)
    batches = EvalLoader(model.config, dataset, 0, 1)
    with model.computing():
        return _evaluated(model, batches)


def _opened(model: Model, data: str | os.PathLike[str] | None) -> Dataset:
    from deit.data.datasets import open_dataset
    from deit.data.source import aligned

    settings, known, source = model.config.data, model.known_classes, str(model.source)
    if data is not None:
        root = Path(data).expanduser()
        if not ((root / "val").is_dir() or (root / "dataset.json").is_file()):
            return open_tree(str(root), "data", known, len(model.classes), settings)
        settings = dataclasses.replace(settings, source="imagefolder", root=str(root.resolve()), format="auto", class_map=None)
        of_own_data: dict[str, Any] = dict.fromkeys(("val_size", "val_limit", *SPLIT_KEYS))
        settings = dataclasses.replace(settings, **of_own_data)
    else:
        settings = _of_run(model)
    return aligned(open_dataset(settings, train=False, trained_on=(known, source)), known, source)


def _of_run(model: Model) -> DataConfig:
    """The data of the run of the weights. Raises UserError if they are not here."""
    settings = model.config.data
    if model.source.is_dir():
        run = description.read(model.source, str(model.source)).run_here
        settings = settings if run is None else frozen.load(run.config).data
    root = settings.root
    if root is not None and not is_remote(root) and not Path(root).is_dir():
        raise UserError(f"the data of {model.source} are not here: there is no folder {root}. Give data=FOLDER.")
    return settings


def _evaluated(model: Model, batches: Iterable[EvalBatch]) -> dict[str, Any]:
    from deit.exports.predictor import CellPredictor

    network = model.predictor.network if isinstance(model.predictor, CellPredictor) else None
    if network is None:
        return _of_logits(model, batches)
    from deit.engine.evaluation import EvalStep
    from deit.engine.evaluation import evaluate as on_device

    step = EvalStep(model.config, network)
    return dataclasses.asdict(on_device(step, batches, 1))


def _of_logits(model: Model, batches: Iterable[EvalBatch]) -> dict[str, Any]:
    """Of an exported graph: the same figures from its logits, without MindSpore for an ONNX file."""
    from deit.comparison.answers import judge
    from deit.engine.reliability import Reliability
    from deit.inference.accuracy import Tally
    from deit.inference.likeliest import probabilities

    tally, losses, reliability = Tally(len(model.classes)), [], Reliability()
    for batch in batches:
        taken, labels = batch.images[batch.valid], batch.labels[batch.valid]
        logits = model.logits(taken)
        found = judge([""] * len(taken), labels, logits)
        tally.add(logits, labels)
        losses.append(found.loss)
        reliability.add(probabilities(logits).max(1), found.right)
    if tally.images == 0:
        raise UserError("none of the images to evaluate can be used; task=check_data says why.", exit_code=1)
    return {
        "top1": tally.top1,
        "top5": tally.top5,
        "balanced_accuracy": tally.balanced_accuracy,
        "macro_f1": tally.macro_f1,
        "loss": float(np.concatenate(losses).mean()),
        "images": tally.images,
        "ece": reliability.ece,
    }
