"""A batch in shared memory: the layout of its arrays, and the messages about it.

A slot of the shared memory has one batch: its images and repetitions (written by the training process), its arrays (written by
the image processes), and a flag that tells these to abandon it.
"""

from __future__ import annotations

import mmap
import struct
from typing import Any

import numpy as np

from deit.data.rows import Arrays, Layout, Places

ALIGNED = 64  # bytes
ORDER, LEFT = "order", "left"  # int64 [2, B], images and repetitions; uint8 [1], not 0 if the batch is no longer needed
TASK = struct.Struct("<4q")  # slot, epoch, first row, row after the last
REPLY = struct.Struct("<q")  # slot, or DIED; pickled bad images or an error may follow
DIED = -1  # pickled (number, status) of a process follow
LARGEST = 1 << 17  # bytes of a message


class SharedLayout:
    """The offsets of the arrays of a batch of ``count`` rows in a slot."""

    def __init__(self, layout: Layout, count: int) -> None:
        inner: Layout = {ORDER: ((2, count), np.dtype(np.int64)), LEFT: ((1,), np.dtype(np.uint8))}
        self.places: dict[str, tuple[int, tuple[int, ...], np.dtype[Any]]] = {}
        offset = 0
        for name, (shape, kind) in (inner | layout).items():
            self.places[name] = offset, shape, kind
            offset += -(-int(np.prod(shape)) * kind.itemsize // ALIGNED) * ALIGNED
        self.bytes = -(-offset // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY

    def map(self, memory: int, slot: int) -> mmap.mmap:
        """A slot of the file ``memory``."""
        return mmap.mmap(memory, self.bytes, offset=slot * self.bytes)

    def arrays(self, values: np.ndarray) -> Arrays:
        """The arrays in ``values``, the bytes of a slot."""
        return {
            name: values[offset : offset + int(np.prod(shape)) * kind.itemsize].view(kind).reshape(shape)
            for name, (offset, shape, kind) in self.places.items()
        }


def places_of(arrays: Arrays, epoch: int) -> Places:
    return Places(epoch, arrays[ORDER][0], arrays[ORDER][1])
