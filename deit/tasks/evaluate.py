"""Evaluate a finished training or a weight file: top-1, top-5 and loss, raw and EMA side by side."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from deit.config.schema import RunConfig
from deit.config.tasks import EvaluateTask, expect
from deit.data.datasets import open_dataset
from deit.data.loader import EvalLoader
from deit.data.source import aligned
from deit.engine import device
from deit.engine.compile_cache import Cached, CompileCache
from deit.engine.evaluation import Answers, AugmentedStep, Head, build_eval_step, evaluate
from deit.engine.network import build_network
from deit.engine.nonfinite import check_evaluated
from deit.models.weights import load_weights
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.tasks.context import Context
from deit.tasks.figures import Figures
from deit.weights.choice import LABELS
from deit.weights.naming import to_mindspore
from deit.weights.read import holds_ema, names_of, read_weights


def run(context: Context) -> dict[str, Any]:
    """Returns ``{"val": {top1, top5, balanced_accuracy, macro_f1, loss, images, ece, weights}, "val_ema": {...}}``.

    With ``task.heads`` the heads of a distilled model are added separately, as ``val_cls`` and ``val_dist``;
    with ``task.tta`` each entry has ``tta``.
    """
    config, report = context.config, context.report
    task = expect(config.task, EvaluateTask)
    sources = _weights(config)
    file = Path(next(iter(sources.values()))[1]["weights"])
    data = aligned(open_dataset(config.data, train=False), names_of(file), str(file))
    results: dict[str, Any] = {}
    figures = Figures(context, data)
    figures.note_data(val=data)
    device.run_ahead(config.hardware)
    network = build_network(config)
    answering = {"": network}
    if task.heads and config.model.distilled:
        answering |= {"_cls": Head(network, 0), "_dist": Head(network, 1)}
    cache = CompileCache(config.hardware, context.rank, context.world)
    steps: dict[str, Cached | AugmentedStep] = {
        suffix: cache.cached(build_eval_step(config, cell)) if task.tta == "none" else AugmentedStep(config, cell)
        for suffix, cell in answering.items()
    }
    images = EvalLoader(config, data, context.rank, context.world, five_crops=task.tta == "five_crop")
    views = {} if task.tta == "none" else {"tta": task.tta}
    for prefix, (weights, source) in sources.items():
        load_weights(network, weights, source=source["weights"])
        for suffix, step in steps.items():
            phase = "evaluating EMA" if prefix == "val_ema" else "evaluating"
            context.evaluating(phase, len(data))
            loader = context.noting(source["step"], images)
            answers = Answers()
            accuracy = evaluate(step, loader, context.world, context.evaluated, answers)
            report.metrics(source["step"], accuracy.metrics(prefix + suffix, config.data.num_classes))
            report.metrics(source["step"], context.data_metrics(source["step"]))
            check_evaluated(config, prefix + suffix, accuracy.loss)
            results[prefix + suffix] = dataclasses.asdict(accuracy) | source | views
            if not suffix:
                figures.keep(prefix, answers, source["step"])
    figures.draw()
    return results


def _weights(config: RunConfig) -> dict[str, tuple[dict[str, np.ndarray], dict[str, Any]]]:
    """The weights to evaluate with their origin, by the prefix of their metrics."""
    task = expect(config.task, EvaluateTask)
    if config.checkpoint is not None and Path(config.checkpoint).is_file():
        file = Path(config.checkpoint)
        prefixes = ("val", "val_ema") if holds_ema(file) else ("val",)
        source = {"step": 0, "weights": config.checkpoint}
        return {prefix: (to_mindspore(read_weights(file, LABELS[prefix])), source) for prefix in prefixes}
    if config.checkpoint is not None:
        files = checkpoint.weights_of_folder(Path(config.checkpoint))
    else:
        assert config.run is not None
        files = checkpoint.weights_of_run(RunDirectory(config.run), task.which)
    return {
        prefix: (
            checkpoint.read_part(file.parent, file.stem),
            {"step": checkpoint.read_state(file.parent)["step"], "weights": str(file)},
        )
        for prefix, file in files.items()
    }
