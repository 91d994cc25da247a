"""How many steps the host is ahead of a card, with simulated events."""

from __future__ import annotations

import weakref
from typing import ClassVar

import numpy as np
from composition import composed

from deit.engine.steps_ahead import LIMIT, StepsAhead, build_steps_ahead


class Mark:
    """An event that notes when it is waited for."""

    log: ClassVar[list[tuple[str, int]]] = []
    made: ClassVar[int] = 0

    def __init__(self) -> None:
        self.number = Mark.made
        Mark.made += 1

    def record(self) -> None:
        self.log.append(("recorded", self.number))

    def synchronize(self) -> None:
        self.log.append(("waited for", self.number))


def test_inputs_are_kept_until_their_step_is_done() -> None:
    Mark.log, Mark.made = [], 0
    ahead = StepsAhead(Mark)
    kept = []
    for _ in range(LIMIT + 2):
        images = np.zeros(3)
        kept.append(weakref.ref(images))
        ahead.add(images)
        del images
    assert [reference() is not None for reference in kept] == [False, False, *[True] * LIMIT]
    assert Mark.log == [
        ("recorded", 0),
        ("recorded", 1),
        ("recorded", 2),
        ("waited for", 0),
        ("recorded", 3),
        ("waited for", 1),
    ]


def test_cpu_steps_are_done_when_they_return() -> None:
    ahead = build_steps_ahead(composed("experiment=quickstart", "hardware=cpu").hardware)
    images = np.zeros(3)
    kept = weakref.ref(images)
    ahead.add(images)
    del images
    assert kept() is None
