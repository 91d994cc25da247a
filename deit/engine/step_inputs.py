"""The arguments of a train step by name, and how to make them from a batch.

A compiled graph takes tensors by position: MindSpore treats a named tuple as a constant and would compile again for each batch.
So callers build one of these tuples and pass it unpacked, ``step(*inputs)``; ``TrainStep.construct`` has the same names in the
same order, which a test checks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from mindspore import Tensor

from deit.config.schema import RunConfig
from deit.data.loader import TrainBatch
from deit.engine import step_randomness


class BatchInputs(NamedTuple):
    """The inputs for the images of a micro batch, for ``deit.engine.normalize.Inputs`` and for a teacher.

    ``images``, ``labels``, ``boxes`` and ``noise`` are those of ``deit.data.loader.TrainBatch``; ``blend``, ``mix_box`` and
    ``lam`` those of ``deit.engine.mixing.Mix``. Unused ones are None.
    """

    images: Tensor
    labels: Tensor
    boxes: Tensor | None = None
    noise: Tensor | None = None
    blend: Tensor | None = None
    mix_box: Tensor | None = None
    lam: Tensor | None = None


class StepInputs(NamedTuple):
    """All inputs of a train step: ``BatchInputs``, the randomness of the network, and the step's position and rate.

    ``drop_path`` float32 [2 * depth, B] and ``dropout_key`` int32 are those of ``deit.engine.step_randomness``. ``first``
    (bool) marks the first micro batch of an optimizer step; ``lr`` is the float32 learning rate. ``teacher_logits`` [B, K] are
    the teacher's for the same erased and mixed images, None without distillation. ``average_share`` float32 is 1 - decay of the
    moving average in this step; None for that of ema.decay.
    """

    images: Tensor
    labels: Tensor
    boxes: Tensor | None
    noise: Tensor | None
    blend: Tensor | None
    mix_box: Tensor | None
    lam: Tensor | None
    drop_path: Tensor | None
    dropout_key: Tensor | None
    first: Tensor
    lr: Tensor
    teacher_logits: Tensor | None = None
    average_share: Tensor | None = None


def batch_inputs(config: RunConfig, batch: TrainBatch, micro_step: int, rank: int) -> BatchInputs:
    """The tensors of a batch, and its mixing."""
    arrays = (batch.images, batch.labels, batch.boxes, batch.noise)
    return BatchInputs(*map(_tensor, arrays), *step_randomness.mix(config, micro_step, rank))


def _tensor(array: np.ndarray | None) -> Tensor | None:
    # No copy: the loader never writes into a batch that it has returned.
    return None if array is None else Tensor.from_numpy(array)
