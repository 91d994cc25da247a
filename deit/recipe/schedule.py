"""The learning rate as a function of the optimizer step: without state to restore.

The schedule is timm's CosineLRScheduler (0.3.2 and 1.0 agree) with its warmup, without the warmup prefix: the cosine runs over
all epochs and the warmup replaces its beginning.
"""

from __future__ import annotations

import math

from deit.config.schema import OptimConfig, ScheduleConfig


def peak_lr(optim: OptimConfig, global_batch: int) -> float:
    """Learning rate after warmup. ``global_batch``: images of one optimizer step, over all cards and accumulation steps.

    Linear scaling as in DeiT's main.py, unless ``lr_base_size`` is null.
    """
    if optim.lr_base_size is None:
        return optim.base_lr
    return optim.base_lr * global_batch / optim.lr_base_size


def learning_rate(schedule: ScheduleConfig, peak: float, step: int, steps_per_epoch: int) -> float:
    """Learning rate of optimizer step ``step``, counted from 0 (timm: CosineLRScheduler._get_lr).

    With granularity epoch, all steps of an epoch have one rate: that of its number, or with timing end that of the number
    before. facebookresearch/deit (main.py) calls ``lr_scheduler.step(epoch)`` after epoch ``epoch``, so that its epochs 0
    and 1 both use the rate of 0.
    """
    epoch = step // steps_per_epoch if schedule.granularity == "epoch" else step / steps_per_epoch
    if schedule.timing == "end":
        epoch = max(0, epoch - 1)
    if epoch < schedule.warmup_epochs:
        return schedule.warmup_lr + epoch * (peak - schedule.warmup_lr) / schedule.warmup_epochs
    if epoch >= schedule.epochs:
        return schedule.min_lr
    if schedule.name == "constant":
        return peak
    cosine = math.cos(math.pi * epoch / schedule.epochs)
    return schedule.min_lr + 0.5 * (peak - schedule.min_lr) * (1 + cosine)
