"""The augmentation of a training in one line, for the dry run and the preview."""

from __future__ import annotations

from deit.config.schema import AugmentConfig
from deit.data.policy import jitters


def summary(augment: AugmentConfig) -> str:
    """``crop 0.08-1, flip 0.5, rand-m9-mstd0.5-inc1, erase 0.25, ...``, without what is off."""
    parts = ["simple random crop" if augment.crop == "src" else f"crop {augment.scale[0]:g}-{augment.scale[1]:g}"]
    if augment.hflip:
        parts.append(f"flip {augment.hflip:g}")
    if augment.auto_augment is not None:
        parts.append(augment.auto_augment)
    if jitters(augment.auto_augment) and augment.color_jitter:
        parts.append(f"colour jitter {augment.color_jitter:g}")
    parts += [f"{label} {value:g}" for label, value in (("erase", augment.reprob), ("smoothing", augment.smoothing)) if value]
    mixed = [f"{label} {value:g}" for label, value in (("mixup", augment.mixup), ("CutMix", augment.cutmix)) if value]
    if mixed and augment.mixup_prob:
        parts.append(" or ".join(mixed) + (f" with probability {augment.mixup_prob:g}" if augment.mixup_prob < 1 else ""))
    if augment.repeats > 1:
        parts.append(f"each image {augment.repeats} times")
    return ", ".join(parts)
