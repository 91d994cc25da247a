"""New generators, and one that is moved."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deit.randomness import generator, moved_generator


def numbers(random: np.random.Generator) -> list[float]:
    """Of several kinds, with halves of words left over."""
    drawn = [random.random(), random.integers(7), random.normal(), random.random(dtype=np.float32), *random.uniform(0, 9, 5)]
    return [float(number) for number in drawn]


def test_moved_generator_draws_the_same_as_a_new_one() -> None:
    for place in ((3, "augment", 0, 1, 2), (3, "augment", 2**40, 1), (4, "replace"), (3, "augment", 0, 1, 2), (2**63, "a", 5)):
        assert numbers(moved_generator(*place)) == numbers(generator(*place))
    for make in (generator, moved_generator):
        with pytest.raises(ValueError, match="4 counters"):
            make(0, "augment", 1, 2, 3, 4)


def test_each_thread_has_its_own_generator() -> None:
    def drawn(image: int) -> list[float]:
        random = moved_generator(1, "augment", image)
        return [random.random() for _ in range(200)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(drawn, range(40)))
    assert found == [[fresh.random() for _ in range(200)] for fresh in (generator(1, "augment", i) for i in range(40))]
