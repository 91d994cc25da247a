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
from deit.errors import UserError
from deit.exports import description
from deit.inference.labelled import open_tree
from deit.library.loaded_model import Model, load_model
from deit.scores import balanced_accuracy, macro_f1

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
        settings = dataclasses.replace(settings, val_size=None, val_limit=None, labels=None, split_file=None)
        settings = dataclasses.replace(settings, val_fraction=None, folds=None, fold=None)  # of the run's own data
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
    from deit.inference.likeliest import probabilities

    counts = np.zeros((3, len(model.classes)), np.int64)  # of each class the right predictions, the predictions, the images
    right5, losses, reliability = 0, [], Reliability()
    for batch in batches:
        taken, labels = batch.images[batch.valid], batch.labels[batch.valid]
        logits = model.logits(taken)
        found = judge([""] * len(taken), labels, logits)
        for row, classes in enumerate((labels[found.right], found.predicted[found.predicted >= 0], labels)):
            np.add.at(counts[row], classes, 1)
        right5 += int(found.right5.sum())
        losses.append(found.loss)
        reliability.add(probabilities(logits).max(1), found.right)
    images = int(counts[2].sum())
    if images == 0:
        raise UserError("none of the images to evaluate can be used; task=check_data says why.", exit_code=1)
    right, predicted, of = counts.tolist()
    return {
        "top1": 100 * sum(right) / images,
        "top5": 100 * right5 / images,
        "balanced_accuracy": balanced_accuracy(right, of),
        "macro_f1": macro_f1(right, predicted, of),
        "loss": float(np.concatenate(losses).mean()),
        "images": images,
        "ece": reliability.ece,
    }
