"""The arrays of a batch in memory that processes share."""

from __future__ import annotations

import os

import numpy as np

from deit.data.shared_batch import ALIGNED, LEFT, ORDER, SharedLayout, places_of

LAYOUT = {"images": ((3, 5, 5, 3), np.dtype(np.uint8)), "labels": ((3,), np.dtype(np.int32))}


def test_views_of_a_slot_share_memory_and_slots_do_not() -> None:
    shared = SharedLayout(LAYOUT, 3)
    memory = os.memfd_create("batches")
    os.ftruncate(memory, 2 * shared.bytes)
    views = [shared.map(memory, slot) for slot in (0, 0, 1)]
    first, again, other = (shared.arrays(np.frombuffer(view, np.uint8)) for view in views)
    assert first.keys() == {ORDER, LEFT, "images", "labels"}
    for number, array in enumerate(first.values(), 1):
        array[...] = number
    for name, array in first.items():
        assert (array == again[name]).all() and not other[name].any()
        assert (array.shape, array.dtype) == (again[name].shape, again[name].dtype)
    assert len({int(array.flat[0]) for array in first.values()}) == 4  # none lies over another
    places = places_of(first, 7)
    assert places.epoch == 7 and places.indices.shape == (3,) and places.repetitions.shape == (3,)
    os.close(memory)


def test_arrays_are_aligned_for_vector_instructions() -> None:
    offsets = [offset for offset, _, _ in SharedLayout(LAYOUT, 3).places.values()]
    assert [offset % ALIGNED for offset in offsets] == [0] * 4 and offsets == sorted(offsets)
