"""A finished training on the disk, without the training: a run directory with a checkpoint of random weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from composition import composed

from deit.config import frozen
from deit.models.shapes import parameter_shapes
from deit.runs import checkpoint, directory, status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import finished

SMALL = ("experiment=quickstart", "model.depth=1", "model.embed_dim=24", "model.num_heads=3")


def trained(
    folder: Path, *typed: str, step: int = 3, classes: Sequence[str] | None = None, top1: Mapping[str, float] | None = None
) -> RunDirectory:
    """A run of ``typed`` in ``folder``/runs with one checkpoint, raw and EMA; ``top1`` is what it recorded of each."""
    config = composed(*(typed or SMALL), f"runs_dir={folder / 'runs'}")
    count = config.data.num_classes or 10
    run = directory.create(folder / "runs", config.name)
    frozen.save(config, run.config)
    generator = np.random.default_rng(0)
    weights = {
        name: generator.normal(size=shape).astype(np.float32) for name, shape in parameter_shapes(config.model, count).items()
    }
    entries = {
        kind: {"top1": value, "top5": 90.0, "loss": 1.0, "step": step, "checkpoint": checkpoint.folder_name(step)}
        for kind, value in (top1 or {"val": 60.0, "val_ema": 50.0}).items()
    }
    facts = {
        "model": dataclasses.asdict(config.model),
        "num_classes": count,
        "classes": list(classes or map(str, range(count))),
        "train_images": 1442,
        "best": entries,
        "last": entries,
    }
    checkpoint.write(run, step, {"model": weights, "ema": weights}, facts)
    checkpoint.point_at_best(run, entries)
    status.end(run, status.Status(), finished())
    return run
