"""Pictures of the network's input: the batch of a training's first step, and images of the evaluation.

Nothing is imitated: the images come from the loaders, normalisation, erasing and mixing from the cells of the train step and
the evaluation, so the pixels are those of this seed. Only the normalisation is undone for the picture. A preview of several
cards shows the share of the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import Tensor

from deit.config.schema import RunConfig
from deit.config.tasks import PreviewTask, expect
from deit.data.datasets import open_dataset
from deit.data.loader import EvalLoader, TrainBatch, TrainLoader
from deit.data.source import Dataset, limited
from deit.data.transform import EvalTransform
from deit.engine.normalize import Inputs, Normalize
from deit.engine.step_inputs import batch_inputs
from deit.inference.picture import Card, draw, drawable
from deit.recipe import plan
from deit.recipe.augmentation import summary
from deit.tasks.context import Context

LEAST_SHARE = 0.005  # a class is named only if its share exceeds that of the others by this much


def run(context: Context) -> dict[str, Any]:
    """Draw ``preview_train.png`` and ``preview_eval.png`` into the run directory; returns their names.

    Raises Interrupted after a signal; each picture is then complete or missing.
    """
    config, run, report = context.config, context.run, context.report

    report.progress(now=True, phase="training images")
    cards = training_cards(config, open_dataset(config.data, train=True))
    context.stop_if_asked()
    draw(run.preview_train, *_training_title(config, len(cards)), cards)

    report.progress(now=True, phase="evaluation images")
    cards = evaluation_cards(config, open_dataset(config.data, train=False))
    context.stop_if_asked()
    draw(run.preview_eval, *_evaluation_title(config), cards)
    return {"training": run.preview_train.name, "evaluation": run.preview_eval.name}


def first_batch(config: RunConfig, data: Dataset) -> tuple[TrainBatch, np.ndarray, np.ndarray]:
    """The batch of the first step, and the network's input from it: images float32 [B, C, H, W], targets [B, K]."""
    batches = TrainLoader(config, data, rank=0, world=plan.ranks(config)).epoch(0)
    batch = next(batches)
    batches.close()
    images, targets = Inputs(config)(*batch_inputs(config, batch, 0, rank=0))
    return batch, images.asnumpy(), targets.asnumpy()


def training_cards(config: RunConfig, data: Dataset) -> list[Card]:
    """Images of the first batch next to the network's input from them, with their targets."""
    task = expect(config.task, PreviewTask)
    batch, images, targets = first_batch(config, data)
    names = _names(data)
    count = min(task.images, len(images))
    # From both ends, because mixing pairs an image with the one at the mirrored position.
    rows = [*range(count - count // 2), *range(len(images) - count // 2, len(images))]
    return [
        Card(
            original=data.image(int(batch.indices[row])),
            seen=denormalized(images[row], config),
            name=names[batch.labels[row]],
            shares=named_shares(targets[row], names, config.augment.smoothing),
        )
        for row in rows
    ]


def evaluation_cards(config: RunConfig, data: Dataset) -> list[Card]:
    """Validation images of all classes next to the network's input from them."""
    task = expect(config.task, PreviewTask)
    data = limited(data, task.images)
    names = _names(data)
    normalize = Normalize(config.data.mean, config.data.std)
    cards = []
    for batch in EvalLoader(config, data, rank=0, world=1):
        images = normalize(Tensor(batch.images)).asnumpy()
        cards += [
            Card(data.image(int(index)), denormalized(images[row], config), names[batch.labels[row]])
            for row, index in enumerate(batch.indices)
            if batch.valid[row]
        ]
    return cards


def denormalized(image: np.ndarray, config: RunConfig) -> np.ndarray:
    """A normalised image float32 [C, H, W] as uint8 [H, W, C]; values beyond black and white are clipped."""
    values = image.transpose(1, 2, 0) * np.array(config.data.std) + np.array(config.data.mean)
    return np.clip(np.rint(255 * values), 0, 255).astype(np.uint8)


def _names(data: Dataset) -> list[str]:
    return [name if drawable(name) else f"class {label}" for label, name in enumerate(data.classes)]


def named_shares(target: np.ndarray, names: list[str], smoothing: float) -> list[tuple[str, float]]:
    """The one or two main classes of a target [K], with their shares, largest first."""
    everybodys = smoothing / len(names)
    largest = np.argsort(-target, kind="stable")[:2]
    return [(names[label], float(target[label])) for label in largest if target[label] > everybodys + LEAST_SHARE]


def _training_title(config: RunConfig, shown: int) -> tuple[str, list[str]]:
    ranks = plan.ranks(config)
    whose = f" of the first of {ranks} processes" if ranks > 1 else ""
    return f"{config.name}: training input of the network", [
        summary(config.augment),
        f"left: the image, right: the input of the first step, with its target; "
        f"{shown} of a batch of {config.data.batch_size}{whose}, seed {config.seed}",
    ]


def _covered(transform: EvalTransform) -> str:
    height, width = transform.covered
    return f"short side resized to {height}" if height == width else f"resized to cover {height} x {width}"


def _evaluation_title(config: RunConfig) -> tuple[str, list[str]]:
    transform = EvalTransform(config)
    return f"{config.name}: evaluation input of the network", [
        f"{_covered(transform)}, {config.data.interpolation}; centre of {transform.size[0]} x {transform.size[1]} cut out",
        "left: the image, right: the input of the evaluation",
    ]
