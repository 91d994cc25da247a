"""How far exported networks differ from the checkpoint's network, for each variant and format: the table of docs/inference.md.

    python benchmarks/export_differences.py [--images 8] [VARIANT ...]

Weights are random, three times as large as initial ones, so that attention is not uniform and logits are a few units large.
The images are synthetic. Differences are the largest of any logit; in brackets as a share of the largest logit.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from pathlib import Path

os.environ.setdefault("GLOG_v", "3")

import mindspore as ms
import numpy as np
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import open_dict

from deit.commands import table
from deit.commands.export import TASK
from deit.compose import freeze, groups
from deit.config.schema import RunConfig
from deit.config.tasks import ExportTask
from deit.data.datasets import open_dataset
from deit.data.loader import EvalLoader
from deit.exports import description
from deit.exports.origin import Origin
from deit.exports.predictor import open_export, open_network
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_shapes
from deit.tasks.export import describe, precision, write_network

FORMATS = [("mindir", "float32"), ("onnx", "float32"), ("safetensors", "float32"), ("mindir", "float16"), ("onnx", "float16")]


def configuration(variant: str, images: int) -> RunConfig:
    freeze.register()
    typed = [f"model={variant}", "data=synthetic", "data.num_classes=1000", f"data.val_size={images}", "task=export"]
    typed += [f"data.eval_batch_size={images}", "checkpoint=random", "data.workers=0"]
    with initialize_config_dir(str(groups.CONF), version_base="1.3"):
        composed = hydra_compose("config", typed)
    with open_dict(composed):
        composed.pop("hydra", None)
    return TASK.placed(table.configured(composed, []))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", default=sorted(groups.groups()["model"]))
    parser.add_argument("--images", type=int, default=8)
    chosen = parser.parse_args()
    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    print("| variant | largest logit |", *(f" {name} {kind} |" for name, kind in FORMATS))
    print("|---|---:|" + "---:|" * len(FORMATS), flush=True)
    for variant in chosen.variants:
        config = configuration(variant, chosen.images)
        data = open_dataset(config.data, train=False)
        weights = {
            name: 3 * value if value.ndim > 1 else value
            for name, value in initial_weights(parameter_shapes(config.model, 1000), seed=0).items()
        }
        (batch,) = EvalLoader(config, data, rank=0, world=1)
        exact = dataclasses.replace(config, precision=precision(half=False))
        expected = open_network(exact, weights, data.classes, None, "random")(batch.images)
        cells = [differences(config, weights, name, kind, batch.images, expected) for name, kind in FORMATS]
        print(f"| {variant} | {np.abs(expected).max():.2f} |", *(f" {cell} |" for cell in cells), flush=True)


def differences(
    config: RunConfig,
    weights: dict[str, np.ndarray],
    name: str,
    kind: str,
    images: np.ndarray,
    expected: np.ndarray,
) -> str:
    assert isinstance(config.task, ExportTask)
    config = dataclasses.replace(config, task=dataclasses.replace(config.task, format=name, precision=kind))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model.{name}"
        write_network(config, weights, path)
        origin = Origin(path, "raw", None, "checkpoint")
        description.write(path.parent, describe(config, origin, open_dataset(config.data, train=False), path, measured=False))
        found = open_export(path.parent, folder)(images)
    largest = np.abs(found - expected).max()
    agree = (found.argmax(1) == expected.argmax(1)).mean()
    return f"{largest:.1e} ({largest / np.abs(expected).max():.1e})" + (f", top-1 {100 * agree:.0f} %" if agree < 1 else "")


if __name__ == "__main__":
    main()
