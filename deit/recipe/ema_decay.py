"""The decay of the moving average at a step: constant, or growing as in timm's ModelEmaV3 (``get_decay``, timm 1.0.31)."""

from __future__ import annotations

from deit.config.schema import EmaConfig


def decay_at(ema: EmaConfig, done: int) -> float:
    """The decay of the update after ``done`` optimizer steps. With ``ema.warmup`` the first update copies the weights."""
    if not ema.warmup:
        return ema.decay
    return min(1 - float((1 + done / ema.warmup_gamma) ** -ema.warmup_power), ema.decay)
