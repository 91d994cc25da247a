"""Waiting requests are computed together, each gets its own results, and errors reach only their batch."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deit.serving.batches import Batches


def image(number: int) -> np.ndarray:
    return np.full((1, 2, 2, 3), number, np.uint8)


class Network:
    """Answers the first pixel of each image; waits in its first call until it is let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.began, self.go_on = threading.Event(), threading.Event()
        self.inside = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.inside += 1
        assert self.inside == 1, "two threads at once"
        self.sizes.append(len(images))
        self.began.set()
        assert self.go_on.wait(60)
        self.inside -= 1
        if (images == 13).any():
            raise ValueError("unlucky")
        return images[:, 0, 0, :1].astype(np.float32)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((1, 8), [1, 8, 8, 1, 1, 1]),  # 19 wait: 8, 8, and three by themselves
        (range(1, 17), [1, 16, 3]),
        ((1, 4, 16), [1, 16, 4]),  # three fill more than half of four
        ((1,), [1] * 20),
    ],
)
def test_waiting_requests_are_computed_together(sizes: range, expected: list[int]) -> None:
    network = Network()
    batches = Batches(network, sizes)
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(batches, image(100))
        assert network.began.wait(60)  # it computes, alone; all others come meanwhile
        others = [pool.submit(batches, image(number + 20)) for number in range(19)]
        while len(batches._waiting) < 19:
            assert not first.done()
        network.go_on.set()
        assert first.result().tolist() == [[100.0]]
        assert [other.result().tolist() for other in others] == [[[number + 20.0]] for number in range(19)]
    assert network.sizes == expected


def test_large_request_is_split_and_joined() -> None:
    network = Network()
    network.go_on.set()
    many = np.concatenate([image(number) for number in range(100, 121)])
    assert Batches(network, (1, 8))(many)[:, 0].tolist() == [*map(float, range(100, 121))]
    assert network.sizes == [8, 8, 8]  # five fill more than half of eight


def test_error_reaches_only_the_requests_of_its_batch() -> None:
    network = Network()
    network.go_on.set()
    batches = Batches(network, (1,))
    with pytest.raises(ValueError, match="unlucky"):
        batches(image(13))
    assert batches(image(5)).tolist() == [[5.0]]
