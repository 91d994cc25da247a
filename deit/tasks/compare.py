"""One model's part of a comparison: its predictions for all images, and their time.

The launcher starts a worker for each model, one after another, so that each has the machine to itself.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from deit.comparison import answers
from deit.comparison.answers import Answers
from deit.config.tasks import CompareTask, expect
from deit.data.datasets import open_dataset
from deit.data.loader import EvalLoader
from deit.data.source import in_order
from deit.errors import UserError
from deit.inference.images import spelled
from deit.inference.labelled import open_tree
from deit.inference.model_source import open_predictor, read_names
from deit.tasks.context import Context

WARM = 3  # warm-up batches: the first is compiled, in the next ones MindSpore tries out how to use the cores
LEAST = 5  # minimum number of timed batches, LONG seconds in total; with fewer images, black ones are added
LONG = 0.5


def run(context: Context) -> dict[str, Any]:
    """Write ``answers.npz`` into the run directory; returns ``images``, ``top1`` (percent) and ``ms_per_image``.

    The time is that of whole batches in the network, from pixels to logits, without reading images. Raises UserError (exit code
    1) if no image could be used, and Interrupted after a signal.
    """
    config, report = context.config, context.report
    task = expect(config.task, CompareTask)
    assert config.data.num_classes is not None
    (model,) = task.models
    known = None if task.classes is None else read_names(task.classes, config.data.num_classes)
    classes = known or list(map(str, range(config.data.num_classes)))
    report.progress(now=True, phase="loading")
    if task.input is None:
        data = in_order(open_dataset(config.data, train=False), known)  # the launcher has compared the names
    else:
        data = open_tree(task.input, "task.input", known, config.data.num_classes, config.data)
    batch = config.data.eval_batch_size
    predictor = open_predictor(config, Path(model), f"task.models: {model}", classes, batch)
    blank = np.zeros((batch, *config.model.image_size, config.model.in_chans), np.uint8)
    for _ in range(WARM):
        predictor(blank)
    parts: list[Answers] = []
    seconds: list[float] = []
    for read in context.noting(0, EvalLoader(config, data, 0, 1)):
        context.stop_if_asked()
        pixels = read.images[read.valid]
        began = time.perf_counter()
        logits = predictor(pixels)
        if len(pixels) == batch:
            seconds.append(time.perf_counter() - began)
        names = [spelled(data.name(int(index))) for index in read.indices[read.valid]]
        if names:
            parts.append(answers.judge(names, read.labels[read.valid], logits))
        report.progress(phase="answering", evaluated=sum(map(len, parts)), images=len(data))
    if not parts:
        raise UserError(f"{data.place}: none of the {len(data)} images could be used.", exit_code=1)
    while len(seconds) < LEAST or sum(seconds) < LONG:
        began = time.perf_counter()
        predictor(blank)
        seconds.append(time.perf_counter() - began)
    found = answers.join(parts)
    answers.write(context.run.path / answers.FILE, found)
    return {
        "images": len(found),
        "top1": 100 * float(found.right.mean()),
        "ms_per_image": 1000 * float(np.mean(seconds)) / batch,
    }
