"""The warning about a training that waits for images: once, after a minute, with a remedy."""

from __future__ import annotations

from typing import Any

import pytest

from deit.config.schema import RunConfig
from deit.data import workers
from deit.data.workers import processors, workers_of
from deit.engine.data_wait import DataWait
from deit.engine.recorder import Mute


class Heard(Mute):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, event: str, step: int, message: str, **details: Any) -> None:
        self.said.append(message)


def configured(count: int | None, cards: int = 1, backend: str = "opencv") -> RunConfig:
    config = RunConfig()
    config.data.workers, config.hardware.cards, config.augment.backend = count, cards, backend
    return config


def said(config: RunConfig, shares: list[tuple[float, float]]) -> list[str]:
    """The warnings if the shares arrive at these seconds."""
    now, heard = [0.0], Heard()
    wait = DataWait(config, heard, lambda: now[0])
    for step, (second, share) in enumerate(shares):
        now[0] = second
        wait.look(step, share)
    return heard.said


def test_data_wait_warns_once_and_only_if_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda process: set(range(8)))
    config = configured(2)
    assert said(config, [(0, 0.9), (30, 0.9), (59, 0.9)]) == []
    assert said(config, [(0, 0.9), (30, 0.01), (61, 0.9), (100, 0.9)]) == []
    (message,) = said(config, [(0, 0.4), (30, 0.06), (61, 0.3), (90, 0.3), (900, 0.5)])
    assert message.startswith("the training waits for images 30 % of its time: data.workers is 2, but each card has 8")
    (message,) = said(configured(8, backend="pil"), [(0, 0.4), (61, 0.3)])
    assert "all 8 CPU cores of a card" in message and "augment.backend=opencv" in message and "task=pack" in message


def test_default_number_of_workers_depends_on_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda process: set(range(64)))
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(workers, "CGROUP", quota)
    assert processors() == 64  # no such file
    for text, expected in (("max 100000", 64), ("800000 100000", 8), ("50000 100000", 1), ("garbage", 64)):
        quota.write_text(f"{text}\n")
        assert processors() == expected
    assert [workers_of(configured(None, cards).data, cards) for cards in (1, 8, 64, 128)] == [24, 8, 1, 1]
    assert [workers_of(configured(count).data, 8) for count in (0, 1, 40)] == [0, 1, 40]
