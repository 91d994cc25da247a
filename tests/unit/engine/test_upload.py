"""Which processes copy their inputs to a card ahead of the steps, and in what order, with a card that a test plays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from deit.engine import upload

log: list[tuple[str, ...]] = []


class Queue:
    """A stream of a card that notes what is put into it."""

    current: Queue

    def __init__(self, name: str = "copies") -> None:
        self.name = name

    def record_event(self) -> str:
        log.append((self.name, "event"))
        return f"event of {self.name}"

    def wait_event(self, event: str) -> None:
        log.append((self.name, f"waits for {event}"))


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    log.clear()
    Queue.current = Queue("kernels")

    @contextmanager
    def current(queue: Queue) -> Iterator[None]:
        before, Queue.current = Queue.current, queue
        yield
        Queue.current = before

    class Room:
        def copy_(self, tensor: Tensor, non_blocking: bool) -> tuple[str, Any]:
            log.append((Queue.current.name, f"copy, {non_blocking=}"))
            return "on the card", tensor.asnumpy().tolist()

    runtime = SimpleNamespace(Stream=Queue, StreamCtx=current, current_stream=lambda: Queue.current)
    monkeypatch.setattr(upload.ms, "runtime", runtime)
    monkeypatch.setattr(upload.mint, "empty_like", lambda tensor, device: Room() if device == "Ascend" else None)
    here = {"device_target": "Ascend", "mode": ms.PYNATIVE_MODE}
    monkeypatch.setattr(upload, "get_context", here.get)


def test_a_step_waits_for_its_inputs_on_the_card(card: None) -> None:
    copied = upload.build_upload()([Tensor(np.ones(2, np.int32)), None, Tensor(3, ms.int32)])
    assert copied == (("on the card", [1, 1]), None, ("on the card", 3))
    assert log == [
        *[("copies", "copy, non_blocking=True")] * 2,
        ("copies", "event"),
        ("kernels", "waits for event of copies"),
    ]


@pytest.mark.parametrize("here", [("Ascend", ms.GRAPH_MODE), ("CPU", ms.PYNATIVE_MODE), ("CPU", ms.GRAPH_MODE)])
def test_other_processes_copy_nothing(here: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU computes where the images are; in graph mode MindSpore waits for a card after each step anyway."""
    monkeypatch.setattr(upload, "get_context", dict(zip(("device_target", "mode"), here, strict=True)).get)
    inputs = [Tensor([1, 2]), None]
    assert all(one is other for one, other in zip(upload.build_upload()(inputs), inputs, strict=True))
