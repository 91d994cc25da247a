"""Inputs of a step on their way to an Ascend card while it still computes the step before.

For each input that it finds in the host's memory, a compiled step waits until the card has done everything before, copies it in
the queue of its kernels, and waits again (MindSpore 2.10, by ``make ascend-dry-run``). So the inputs are copied in a queue of
their own, without a copy within the host, and the kernels of a step wait for them on the card alone. CANN returns from a copy
of ordinary memory when it is done, which in this queue takes only as long as the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import mindspore as ms
from mindspore import Tensor, get_context, mint

Upload = Callable[[Iterable[Any]], tuple[Any, ...]]


class CardUpload:
    """Copies tensors to the card, in a queue of its own."""

    def __init__(self) -> None:
        self._stream = ms.runtime.Stream()

    def __call__(self, inputs: Iterable[Tensor | None]) -> tuple[Tensor | None, ...]:
        """The tensors on the card, for the steps that are launched after this call.

        Keep ``inputs``, and what this returns, until the card has done such a step (``deit.engine.steps_ahead``): the memory
        of both is used again when nobody holds it.
        """
        with ms.runtime.StreamCtx(self._stream):
            copied = tuple(None if each is None else _copy(each) for each in inputs)
        ms.runtime.current_stream().wait_event(self._stream.record_event())
        return copied


def _copy(tensor: Tensor) -> Tensor:
    # Newer MindSpores have Tensor.to(device=...), which calls these two.
    return mint.empty_like(tensor, device="Ascend").copy_(tensor, non_blocking=True)


def build_upload() -> Upload:
    """For this process: only on a card whose steps do not wait for it, as in a training (``deit.engine.device.run_ahead``)."""
    ahead = get_context("device_target") == "Ascend" and get_context("mode") == ms.PYNATIVE_MODE
    return CardUpload() if ahead else tuple
