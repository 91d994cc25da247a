"""Evaluate a finished training, or a file of weights: top-1, top-5 and loss, raw and EMA side by side."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from deit.config.schema import EvaluateTask, RunConfig
from deit.data.datasets import open_dataset
from deit.data.loader import EvalLoader
from deit.engine.evaluate import EvalStep, evaluate
from deit.engine.network import build_network
from deit.errors import UserError
from deit.models.weights import load_weights
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory, read_json
from deit.tasks.context import Context


def evaluate_task(context: Context) -> dict[str, Any]:
    """Returns ``{"val": {top1, top5, loss, images, weights}, "val_ema": {...}}``."""
    config, report = context.config, context.report
    data = open_dataset(config.data, train=False)
    results: dict[str, Any] = {}
    network = build_network(config)
    step = EvalStep(config, network)
    for prefix, (weights, source) in _weights(config).items():
        load_weights(network, weights, source=source["weights"])
        report.progress(
            now=True, phase="evaluating EMA" if prefix == "val_ema" else "evaluating", val_images=len(data), evaluated=0
        )
        accuracy = evaluate(
            step,
            EvalLoader(config, data, context.rank, context.world),
            context.world,
            lambda images: report.progress(evaluated=images),
        )
        report.metrics(source["step"], accuracy.metrics(prefix))
        results[prefix] = dataclasses.asdict(accuracy) | source
    return results


def _weights(config: RunConfig) -> dict[str, tuple[dict[str, np.ndarray], dict[str, Any]]]:
    """The weights to evaluate under the prefix of their metrics, each with where it comes from."""
    assert isinstance(config.task, EvaluateTask)
    parts = {"val": "model", "val_ema": "ema"}
    if config.checkpoint is not None:
        path = Path(config.checkpoint)
        if path.is_file():
            return {"val": (checkpoint.read_weights(path), {"step": 0, "weights": str(path)})}
        folders = {prefix: path for prefix in parts}
    else:
        assert config.run is not None
        run = RunDirectory(config.run)
        if config.task.which == "best":
            folders = {prefix: run.checkpoints / entry["checkpoint"] for prefix, entry in (read_json(run.best) or {}).items()}
        else:
            folders = {prefix: checkpoint.complete(run)[-1] for prefix in parts}
    found = {}
    for prefix, folder in folders.items():
        state = checkpoint.read_state(folder)
        if f"{parts[prefix]}.safetensors" in state["files"]:
            source = {"step": state["step"], "weights": str(folder / f"{parts[prefix]}.safetensors")}
            found[prefix] = (checkpoint.read_part(folder, parts[prefix]), source)
    if not found:
        raise UserError(f"no checkpoint to evaluate in {config.run or config.checkpoint}")
    return found
