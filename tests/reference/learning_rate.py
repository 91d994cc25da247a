"""The learning rates of timm's cosine schedule, of whichever timm is imported."""

from __future__ import annotations

import numpy as np
import torch
from reference.inputs_optim import COURSES, Course
from timm.scheduler.cosine_lr import CosineLRScheduler


def rates() -> dict[str, np.ndarray]:
    """``lr.NAME`` of each course: the rate of each step or each epoch, float64. ``loop.NAME``: that of each epoch in the loop
    of facebookresearch/deit's main.py, which steps the scheduler after the epoch.
    """
    found = {f"lr.{name}": _rates(course) for name, course in COURSES.items()}
    return found | {f"loop.{name}": _loop(course) for name, course in COURSES.items() if course.granularity == "epoch"}


def _loop(course: Course) -> np.ndarray:
    scheduler = _scheduler(course, 1)
    rates = []
    for epoch in range(course.epochs + course.cooldown):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.step(epoch)
    return np.array(rates)


def _rates(course: Course) -> np.ndarray:
    unit = course.steps_per_epoch if course.granularity == "step" else 1
    scheduler = _scheduler(course, unit)
    return np.array([scheduler._get_lr(t)[0] for t in range((course.epochs + course.cooldown) * unit)])


def _scheduler(course: Course, unit: int) -> CosineLRScheduler:
    peak = course.base_lr * course.images / 512  # facebookresearch/deit: lr * batch_size * world size / 512
    return CosineLRScheduler(
        torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak),
        t_initial=course.epochs * unit,
        lr_min=course.min_lr,
        warmup_t=course.warmup * unit,
        warmup_lr_init=course.warmup_lr,
        cycle_limit=1,
    )
