"""Learning-rate schedules against timm, and the peak for a batch."""

from __future__ import annotations

import dataclasses

import pytest

from deit.config.schema import AdamWOptim, ScheduleConfig, SgdOptim
from deit.recipe.schedule import learning_rate, peak_lr

COSINE = ScheduleConfig("cosine", 300, 10, 5, 1e-6, 1e-5, "epoch", None)
ADAMW = AdamWOptim("adamw", 5e-4, 512, 0.05, False, None, 1, betas=[0.9, 0.999], eps=1e-8)
SGD = SgdOptim("sgd", 0.1, 512, 1e-2, False, None, 1, momentum=0.9, nesterov=False)


@pytest.mark.parametrize(
    ("epoch", "lr"),
    [(0, 1e-6), (1, 2.008e-4), (4, 8.002e-4), (5, 9.9932162e-4), (150, 5.05e-4), (299, 1.00271e-5), (300, 1e-5), (309, 1e-5)],
)
def test_cosine_equals_timm(epoch: int, lr: float) -> None:
    for step in (epoch * 7, epoch * 7 + 6):  # the whole epoch has one rate
        assert learning_rate(COSINE, 1e-3, step, 7) == pytest.approx(lr, rel=5e-6)  # the oracle has six digits


def test_cosine_per_step_passes_through_the_same_points() -> None:
    schedule = dataclasses.replace(COSINE, granularity="step")
    assert learning_rate(schedule, 1e-3, 40, 8) == pytest.approx(9.9932162e-4, rel=1e-6)
    assert learning_rate(schedule, 1e-3, 4, 8) == pytest.approx((1e-6 + 2.008e-4) / 2)
    rates = [learning_rate(schedule, 1e-3, step, 8) for step in range(310 * 8)]
    assert rates[:40] == sorted(rates[:40])
    assert rates[40:2401] == sorted(rates[40:2401], reverse=True)
    assert set(rates[2400:]) == {1e-5}


def test_constant_schedule_keeps_the_peak_between_warmup_and_cooldown() -> None:
    schedule = dataclasses.replace(COSINE, name="constant", epochs=10, warmup_epochs=2, cooldown_epochs=3)
    rates = [learning_rate(schedule, 1e-3, step, 1) for step in range(13)]
    assert rates == pytest.approx([1e-6, 5.005e-4, *[1e-3] * 8, *[1e-5] * 3])


def test_peak_scales_with_the_batch() -> None:
    assert peak_lr(ADAMW, 1024) == pytest.approx(1e-3)
    assert peak_lr(dataclasses.replace(ADAMW, lr_base_size=None), 1024) == 5e-4
