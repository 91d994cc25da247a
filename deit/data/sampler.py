"""The order of images in an epoch: pure functions of the seed, the epoch and the rank.

A training epoch consists of whole micro batches of all ranks, and of whole optimizer steps: it is cut to them, or its order is
continued from the beginning. Without repetitions the images of a step do not depend on how many ranks share the global batch.
"""

from __future__ import annotations

import numpy as np

from deit.data.balance import Balance
from deit.randomness import generator

GRANULE = 256  # facebookresearch/deit cuts the data set to a multiple of it


class TrainOrder:
    """The training images of one rank, micro batch by micro batch.

    With repeated augmentation (facebookresearch/deit's RASampler) each image of the order is repeated ``repeats`` times, and
    the ranks take turns along that list; each stops after n // 256 * 256 / world images, so that an epoch is as long as
    without repetitions and sees about 1/repeats of the images. The original's padding at the end of the list is left out,
    because no rank gets that far.
    """

    def __init__(  # noqa: PLR0913  # what decides the order
        self,
        n: int,
        *,
        seed: int,
        batch_size: int,
        rank: int,
        world: int,
        accumulation_steps: int,
        repeats: int,
        fill: bool = False,
        balance: Balance | None = None,
    ) -> None:
        """``n`` is the size of the data set, at least 1, ``batch_size`` the micro batch of one rank.

        ``fill``: the incomplete last step is filled instead of dropped, as it always is if it is the only one. ``steps`` counts
        micro batches. With a ``balance`` an epoch has as many images as without, but some several times and others not at all.
        """
        self.n, self.seed, self.batch_size, self.rank, self.world, self.repeats = n, seed, batch_size, rank, world, repeats
        self.balance = balance
        usable = n if repeats == 1 else n // GRANULE * GRANULE
        self.steps = usable // world // batch_size // accumulation_steps * accumulation_steps
        if fill or self.steps == 0:
            self.steps = -(-n // (batch_size * world * accumulation_steps)) * accumulation_steps

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """(indices, repetitions), each int64 [steps, batch_size]; repetitions count from 0.

        An image that fills the last step, or that the balance takes again, has a repetition of its own, so that it is augmented
        differently.
        """
        order, before = self._order(epoch)
        places = np.arange(self.steps * self.batch_size, dtype=np.int64)
        if self.repeats == 1:
            # Step by step the ranks take neighbouring batches of the same order.
            step, within = np.divmod(places, self.batch_size)
            places = (step * self.world + self.rank) * self.batch_size + within
        else:
            places = self.rank + self.world * places
        rounds, places = np.divmod(places, self.n * self.repeats)
        repeat = places % self.repeats
        places //= self.repeats
        repetitions = (rounds * (before.max() + 1) + before[places]) * self.repeats + repeat
        shape = (self.steps, self.batch_size)
        return order[places].reshape(shape), repetitions.reshape(shape)

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The images of an epoch in their order, and how often each has come before; both int64 [n]."""
        permutation = generator(self.seed, "order", epoch).permutation(self.n)
        if self.balance is None:
            return permutation, np.zeros(self.n, np.int64)
        images, before = self.balance.drawn(epoch)
        return images[permutation], before[permutation]


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
