"""Pictures of a network's attention: attention rollout, and each head of the last block."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor

from deit.config.tasks import ExplainTask, expect
from deit.data.source import evenly
from deit.data.transform import EvalTransform
from deit.engine.attention import Attentions, maps
from deit.engine.network import build_network
from deit.engine.normalize import Normalize
from deit.errors import UserError
from deit.inference.images import spelled
from deit.inference.labelled import FoundImages
from deit.inference.likeliest import probabilities
from deit.inference.model_source import input_of, source_of
from deit.inference.picture import coloured
from deit.models.weights import load_weights
from deit.tasks.attention_picture import Seen, draw
from deit.tasks.context import Context
from deit.weights.naming import to_mindspore
from deit.weights.read import read_weights

GUESSES = 3  # most likely classes shown above an image


def run(context: Context) -> dict[str, Any]:
    """Draw ``attention_NUMBER_NAME.png`` of each image into the run directory.

    Returns ``{"pictures": [names], "unreadable": [reasons]}``. Unreadable images are left out and named. Raises UserError (exit
    code 1) if all are unreadable, and Interrupted after a signal.
    """
    config = context.config
    task = expect(config.task, ExplainTask)
    images, classes = input_of(config, task)
    network = build_network(config)
    load_weights(network, to_mindspore(read_weights(source_of(task))), source=f"task.model={task.model}")
    look = Attentions(network, Normalize(config.data.mean, config.data.std))
    transform = EvalTransform(config)
    data = FoundImages(images, config.data)
    drawn: list[str] = []
    unreadable: list[str] = []
    for done, number in enumerate(evenly(len(images), task.images)):
        context.stop_if_asked()
        context.report.progress(now=True, phase="drawing", evaluated=done)
        name = images.names[number]
        try:
            pixels = transform(data.image(int(number)))
        except UserError as error:
            unreadable.append(spelled(str(error)))
            continue
        logits, attentions = look(Tensor(np.ascontiguousarray(pixels[None])))
        shares = probabilities(logits.asnumpy())[0]
        best = np.argsort(-shares, kind="stable")[:GUESSES]
        seen = Seen(
            pixels=coloured(pixels),
            name=name,
            right=None if images.labels is None else classes[images.labels[number]],
            guesses=[(classes[label], float(shares[label])) for label in best],
            maps=maps(attentions.asnumpy()[:, 0], config.model.distilled, config.model.grid),
        )
        file = f"attention_{number:05d}_{re.sub(r'[^A-Za-z0-9._-]+', '_', Path(name).stem)[:60]}.png"
        draw(context.run.path / file, seen, f"{config.model.name}, {config.model.depth} blocks")
        drawn.append(file)
    if not drawn:
        raise UserError(f"no image could be read; the first: {unreadable[0]}", exit_code=1)
    return {"pictures": drawn, "unreadable": unreadable}
