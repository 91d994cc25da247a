"""The order of images in an epoch: pure functions of the seed, the epoch and the rank.

A training epoch is cut to whole micro batches of all ranks, and to whole optimizer steps. Without repetitions the images of a
step do not depend on how many ranks share the global batch.
"""

from __future__ import annotations

import numpy as np

from deit.errors import UserError
from deit.randomness import generator

GRANULE = 256  # facebookresearch/deit cuts the data set to a multiple of it


def repeated_order(n: int, repeats: int, rank: int, world: int, permutation: np.ndarray) -> np.ndarray:
    """A rank's images of an epoch with repeated augmentation (facebookresearch/deit's RASampler).

    Each image of ``permutation`` [n] is repeated ``repeats`` times; the ranks take turns along that list; each stops after
    n // 256 * 256 / world images, so that an epoch is as long as without repetitions and sees about 1/repeats of the images.
    Returns int64 [that many]. The original's padding at the end of the list is left out, because no rank gets that far.
    """
    return permutation[repeated_positions(n, rank, world) // repeats]


def repeated_positions(n: int, rank: int, world: int) -> np.ndarray:
    """Positions of a rank's images in the list of all repetitions; modulo repeats they give the repetition."""
    selected = n // GRANULE * GRANULE // world
    return rank + world * np.arange(selected, dtype=np.int64)


class TrainOrder:
    """The training images of one rank, micro batch by micro batch."""

    def __init__(
        self, n: int, *, seed: int, batch_size: int, rank: int, world: int, accumulation_steps: int, repeats: int
    ) -> None:
        """``n`` is the size of the data set, ``batch_size`` the micro batch of one rank.

        Raises UserError if the data set does not fill one optimizer step.
        """
        self.n, self.seed, self.batch_size, self.rank, self.world, self.repeats = n, seed, batch_size, rank, world, repeats
        usable = n if repeats == 1 else n // GRANULE * GRANULE
        self.steps = usable // world // batch_size // accumulation_steps * accumulation_steps
        if self.steps == 0:
            cut = "" if repeats == 1 else f", of which augment.repeats={repeats} uses the multiples of {GRANULE}"
            raise UserError(
                f"An optimizer step takes {batch_size * world * accumulation_steps} images (data.batch_size={batch_size}, "
                f"cards={world}, optim.accumulation_steps={accumulation_steps}), but the training set has {n}{cut}. "
                "Choose a smaller data.batch_size."
            )

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """(indices, repetitions), each int64 [steps, batch_size]; repetitions count from 0."""
        permutation = generator(self.seed, "order", epoch).permutation(self.n)
        shape = (self.steps, self.batch_size)
        if self.repeats == 1:
            indices = permutation[: self.steps * self.world * self.batch_size].reshape(self.steps, self.world, self.batch_size)
            return indices[:, self.rank], np.zeros(shape, np.int64)
        taken = self.steps * self.batch_size
        indices = repeated_order(self.n, self.repeats, self.rank, self.world, permutation)[:taken]
        repetitions = repeated_positions(self.n, self.rank, self.world)[:taken] % self.repeats
        return indices.reshape(shape), repetitions.reshape(shape)


def eval_order(n: int, batch_size: int, rank: int, world: int) -> np.ndarray:
    """A rank's images of an evaluation: int64 [batches, batch_size], -1 if there is none left.

    The ranks take turns, each image belongs to one rank, and all ranks have the same number of batches.
    """
    longest = -(-n // world)
    batches = -(-longest // batch_size)
    order = np.full(batches * batch_size, -1, np.int64)
    mine = np.arange(rank, n, world)
    order[: len(mine)] = mine
    return order.reshape(batches, batch_size)
