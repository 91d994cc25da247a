"""The attention of all blocks of a network, and its rollout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mindspore import Tensor, nn, ops

from deit.engine.loss import mean_of_heads
from deit.engine.normalize import Normalize
from deit.models.deit import DeiT


class Attentions(nn.Cell):
    """Pixels uint8 [B, H, W, C] to logits [B, K] and the attention of all blocks, float32 [L, B, heads, N, N].

    A row of N tokens sums to 1; tokens are the class token, the distillation token if there is one, and the patches.
    """

    def __init__(self, network: DeiT, normalize: Normalize) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.normalize = network, normalize

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.network.embed(self.normalize(images), None)
        attentions = []
        for block in self.network.blocks:
            attentions.append(block.attn.probabilities(block.norm1(x)))
            x = block(x, None, None, None)
        return mean_of_heads(self.network.classify(x)), ops.stack(attentions)


@dataclass(frozen=True)
class Maps:
    """The attention of one token of one image to each patch, float32 [rows, columns].

    ``rollout`` is over all blocks and sums to 1, ``heads`` [heads, rows, columns] is that of the last block.
    """

    token: str
    rollout: np.ndarray
    heads: np.ndarray


def rollout(attentions: np.ndarray) -> np.ndarray:
    """Attention rollout (Abnar and Zuidema 2020, section 3): from attention [L, heads, N, N] to [N, N], rows sum to 1.

    Each block passes half of a token through the residual connection, and half through the mean attention of its heads.
    """
    joint = np.eye(attentions.shape[-1])
    for heads in attentions.astype(np.float64):
        joint = (heads.mean(0) + np.eye(len(joint))) / 2 @ joint
    return joint


def maps(attentions: np.ndarray, distilled: bool, grid: tuple[int, int]) -> list[Maps]:
    """The maps of the class token and, if ``distilled``, of the distillation token, from attentions [L, heads, N, N].

    ``grid``: the rows and columns of patches.
    """
    special = 1 + distilled
    joint = rollout(attentions)
    found = []
    for number, token in enumerate(("class token", "distillation token")[:special]):
        to_patches = joint[number, special:]
        found.append(
            Maps(
                token,
                (to_patches / to_patches.sum()).reshape(grid).astype(np.float32),
                attentions[-1, :, number, special:].reshape(-1, *grid),
            )
        )
    return found
