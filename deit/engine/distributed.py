"""Ranks of a distributed training, and sums over all of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

import mindspore as ms
import numpy as np
from mindspore import Tensor, communication, nn, ops


def under_msrun() -> bool:
    """Whether this process was started as one of several."""
    return "MS_ROLE" in os.environ


def is_scheduler() -> bool:
    """msrun also starts the program as a scheduler, which must do nothing but ``join``."""
    return os.environ.get("MS_ROLE") == "MS_SCHED"


def join() -> tuple[int, int]:
    """Connect to the other processes; returns (rank, number of ranks)."""
    if not under_msrun():
        return 0, 1
    return connect()


def connect() -> tuple[int, int]:
    """``join``, in a process that is one of several."""
    communication.init()
    ms.set_auto_parallel_context(parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True)
    if ms.get_context("device_target") == "Ascend":
        # One all-reduce for about 32 MB of gradients, in place of one for each parameter. MindSpore 2.10 makes groups of a
        # quarter of the megabytes that it is given; `make ascend-dry-run` shows how many all-reduces there are.
        ms.set_auto_parallel_context(comm_fusion={"allreduce": {"mode": "size", "config": 128}})
    return communication.get_rank(), communication.get_group_size()


class _AllSum(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.all_reduce = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, values: Tensor) -> Tensor:
        return self.all_reduce(values)


@cache
def _all_sum() -> _AllSum:
    return _AllSum()  # cached: each new cell would be compiled again


def sum_over_ranks(values: Sequence[float], world: int) -> list[float]:
    """Sums of float64 numbers over all ranks, the same on each.

    The CPU reduces float32 only. A number is sent as three float32 that sum to it, short enough that counts stay exact on up to
    256 ranks.
    """
    if world == 1:
        return list(values)
    rest = np.array(values, np.float64)
    limbs = []
    for digit in (2.0**16, 1.0, None):
        limb = rest if digit is None else np.floor(rest / digit) * digit
        limbs.append(limb)
        rest = rest - limb
    total = _all_sum()(Tensor(np.stack(limbs).astype(np.float32))).asnumpy().astype(np.float64)
    return [float(value) for value in total.sum(0)]
