"""Entries of a tuple, chosen in a compiled graph."""

from __future__ import annotations

from mindspore import Tensor, ops

_entry = ops.MultitypeFuncGraph("entry")


@_entry.register("Tuple", "Number")
def _entry_one(values: tuple[Tensor, ...], number: int) -> Tensor:
    return values[number]


def entries(values: tuple[Tensor, ...], numbers: tuple[int, ...]) -> tuple[Tensor, ...]:
    """The entries of ``values`` at the positions ``numbers``, which are constants of the graph.

    MindSpore unrolls a loop or a comprehension, each time with a longer tuple: over all parameters of a deep network that was
    half the compilation of its step.
    """
    return ops.HyperMap()(ops.partial(_entry, values), numbers)
