"""Which evaluation is the best, and when a training stops without improvement."""

from __future__ import annotations

import math
from typing import Any

import pytest
from composition import freeze

from deit.recipe.monitor import Monitor, monitor_of


def entry(epoch: int, **figures: float) -> dict[str, Any]:
    return {"top1": 50.0, "macro_f1": 50.0, "loss": 1.0, "epoch": epoch} | figures


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [("top1", 51.0, 50.0), ("macro_f1", 51.0, 49.0), ("loss", 0.9, 1.0), ("loss", 0.9, math.nan), ("top1", 0.0, math.nan)],
)
def test_improvement(name: str, better: float, worse: float) -> None:
    monitor = Monitor("val", name, None)
    best = entry(1, **{name: worse})
    assert monitor.improves(entry(2, **{name: better}), best) and monitor.improves(best, None)
    assert not monitor.improves(best, best) and not monitor.improves(best, entry(1, **{name: better}))


def test_best_of_an_older_version_without_the_metric_is_replaced() -> None:
    assert Monitor("val", "macro_f1", None).improves(entry(2), {"top1": 99.0, "epoch": 1})


def test_patience_counts_epochs_of_the_monitored_weights() -> None:
    best, last = {"val": entry(4), "val_ema": entry(7)}, {"val": entry(7), "val_ema": entry(7)}
    assert Monitor("val", "top1", 3).stalled(best, last) == 3
    assert Monitor("val", "top1", 4).stalled(best, last) is None
    assert Monitor("val_ema", "top1", 3).stalled(best, last) is None
    assert Monitor("val", "top1", None).stalled(best, last) is None
    assert Monitor("val", "top1", 3).stalled({}, {}) is None  # before the first evaluation


def test_the_monitor_of_a_configuration() -> None:
    typed = ("checkpointing.monitor=val_ema/macro_f1", "schedule.patience=5")
    assert monitor_of(freeze("experiment=quickstart", *typed)) == Monitor("val_ema", "macro_f1", 5)
    assert monitor_of(freeze("experiment=quickstart")) == Monitor("val", "top1", None)
