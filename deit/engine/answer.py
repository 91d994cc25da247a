"""What a network answers outside of training: one row of logits an image, whatever it was trained as."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn

from deit.engine.images import Normalize
from deit.engine.loss import mean_of_heads


class Answer(nn.Cell):
    """Images to logits float32 [B, K], the mean of both heads of a distilled model.

    With ``normalize`` the images are pixels, uint8 [B, S, S, 3], without it they are normalised, float32 [B, 3, S, S].
    """

    def __init__(self, network: nn.Cell, normalize: Normalize | None) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.normalize = network, normalize

    def construct(self, images: Tensor) -> Tensor:
        if self.normalize is not None:
            images = self.normalize(images)
        return mean_of_heads(self.network(images)).astype(ms.float32)
