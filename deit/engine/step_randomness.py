"""The random inputs of a step: drawn on the host from (seed, step), passed to the device as tensors."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor

from deit.config.schema import RunConfig
from deit.engine import mixing
from deit.randomness import generator


def drop_path(config: RunConfig, micro_step: int, rank: int, world: int) -> Tensor | None:
    """Factors [2 * depth, B] of the residual branches: 0 or 1 / keep, None without stochastic depth.

    Drawn for the whole global batch, over all ranks and micro steps, and cut to the images of this micro step, so that they
    do not depend on how the batch is split. The rate of the blocks grows linearly from 0 to ``model.drop_path_rate`` (DeiT
    paper, table 9), or with drop_path_mode uniform is the same in all (DeiT III, section 3.1).
    """
    if config.model.drop_path_rate == 0:
        return None
    batch, depth, passes = config.data.batch_size, config.model.depth, config.optim.accumulation_steps
    step, micro = divmod(micro_step, passes)
    first_rate = 0 if config.model.drop_path_mode == "linear" else config.model.drop_path_rate
    keep = 1 - np.linspace(first_rate, config.model.drop_path_rate, depth, dtype=np.float32).repeat(2)[:, None]
    draws = generator(config.seed, "drop_path", step).random((2 * depth, batch * world * passes), dtype=np.float32)
    first = (micro * world + rank) * batch
    return Tensor(((draws < keep) / keep)[:, first : first + batch].astype(np.float32))


def dropout_key(config: RunConfig, micro_step: int, rank: int) -> Tensor | None:
    """The key of the step's dropout masks, int32; None without dropout."""
    if config.model.drop_rate == 0:
        return None
    return Tensor(generator(config.seed, "dropout", micro_step, rank).integers(2**31 - 1), ms.int32)


def mix(config: RunConfig, micro_step: int, rank: int) -> tuple[Tensor, Tensor, Tensor] | tuple[None, None, None]:
    """``blend`` [B], ``box`` [B, 4] and ``lam`` [B] of ``deit.engine.mixing``; None without mixing."""
    if not mixing.enabled(config.augment):
        return None, None, None
    rng = generator(config.seed, "mix", micro_step, rank)
    drawn = mixing.draw(config.augment, config.data.batch_size, config.model.image_size, rng)
    return Tensor(drawn.blend), Tensor(drawn.box), Tensor(drawn.lam)
