"""How far the host may be ahead of an Ascend card, and what must be kept until then.

A step that is only put into the card's queue reads its inputs later, and so may the copy that brings them to the card. But the
loader uses the host's memory again, and MindSpore the card's, as soon as nobody holds it. So both are kept for the last steps
until an event says that the card has done the step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import mindspore as ms

from deit.config.schema import HardwareConfig
from deit.engine import device

LIMIT = 2  # steps: the card always has the next one while the host prepares another


class Event(Protocol):
    """A mark in the card's queue (``mindspore.runtime.Event``)."""

    def record(self) -> None: ...

    def synchronize(self) -> None: ...


class StepsAhead:
    """Keeps the inputs of steps in the queue; ``event`` makes a mark, None if a step is done when it returns."""

    def __init__(self, event: Callable[[], Event] | None) -> None:
        self._event = event
        self._queued: deque[tuple[Event, Any]] = deque()

    def add(self, inputs: Any) -> None:
        """A step with ``inputs`` has been launched: wait for the one before the last ``LIMIT``."""
        if self._event is None:
            return
        mark = self._event()
        mark.record()
        self._queued.append((mark, inputs))
        while len(self._queued) > LIMIT:
            oldest, _ = self._queued[0]
            oldest.synchronize()
            self._queued.popleft()


def build_steps_ahead(hardware: HardwareConfig) -> StepsAhead:
    """For a training on ``hardware``."""
    return StepsAhead(ms.runtime.Event if device.runs_ahead(hardware) else None)
