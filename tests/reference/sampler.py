"""Repeated augmentation: the images that facebookresearch/deit's RASampler gives to each rank.

Its definition in a few lines of torch: the shuffled data set with each image repeated in a row, padded from its
beginning to a multiple of the ranks, dealt out in turns, and cut to the length of an epoch without repetitions.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from reference import inputs_sampler as inputs
from reference.packing import checksum

TIMM = "1.0.31"


def indices(permutation: torch.Tensor, repeats: int, rank: int, world: int) -> torch.Tensor:
    n = len(permutation)
    everything = permutation.repeat_interleave(repeats)
    padded = math.ceil(n * repeats / world) * world
    everything = torch.cat([everything, everything[: padded - n * repeats]])
    return everything[rank::world][: math.floor(n // 256 * 256 / world)]


def make() -> dict[str, np.ndarray]:
    made = {}
    for name, (n, repeats, world) in inputs.CASES.items():
        permutation = inputs.permutation(n)
        ranks = [indices(torch.from_numpy(permutation), repeats, rank, world).numpy() for rank in range(world)]
        made[f"{name}/lengths"] = np.array([len(rank) for rank in ranks])
        made[f"{name}/crc"] = np.concatenate([checksum([rank]) for rank in ranks])
        made[f"{name}/head"] = np.stack([rank[:24] for rank in ranks])
        made[f"{name}/inputs"] = checksum([permutation])
    return made
