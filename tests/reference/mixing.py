"""timm's Mixup: what it makes of given draws, and a sample of its own draws."""

from __future__ import annotations

import numpy as np
import torch
from reference import inputs_mixing as inputs
from reference.packing import checksum
from reference.scripted import Script, instead_of_numpy
from timm.data import mixup

TIMM = "0.3.2"
SAMPLES = 10_000

np.bool = bool  # numpy has dropped the name that timm 0.3.2 uses
mixup.mixup_target.__defaults__ = (1.0, 0.0, "cpu")  # a GPU unless told otherwise, and its caller does not tell


def make() -> dict[str, np.ndarray]:
    made = sample()
    for name, case in inputs.CASES.items():
        outcomes = [mixed(case, number) for number in range(inputs.ROUNDS)]
        made[f"{name}/images"], made[f"{name}/targets"] = (np.stack(part) for part in zip(*outcomes, strict=True))
        made[f"{name}/inputs"] = checksum(
            array
            for number in range(inputs.ROUNDS)
            for array in (inputs.images(number), inputs.labels(number), *inputs.draws(case, number).inputs)
        )
    return made


def settings(case: inputs.Case, classes: int) -> mixup.Mixup:
    return mixup.Mixup(
        mixup_alpha=case.mixup,
        cutmix_alpha=case.cutmix,
        prob=case.prob,
        switch_prob=case.switch_prob,
        mode=case.mode,
        label_smoothing=case.smoothing,
        num_classes=classes,
    )


def mixed(case: inputs.Case, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and targets of one batch."""
    script = in_order_of_timm(case, inputs.draws(case, number))
    images, labels = torch.from_numpy(inputs.images(number)), torch.from_numpy(inputs.labels(number))
    with instead_of_numpy(script):
        images, targets = settings(case, inputs.CLASSES)(images, labels)
    assert script.spent()
    return images.numpy(), targets.numpy()


def in_order_of_timm(case: inputs.Case, draws: inputs.Draws) -> Script:
    """For a batch timm draws what it needs; for elements all at once, needed or not, and boxes at the end."""
    both = case.mixup > 0 and case.cutmix > 0
    cuts = draws.switched < case.switch_prob if both else np.full(len(draws.applied), case.cutmix > 0)
    applied = draws.applied < case.prob
    boxes = [number for i in np.flatnonzero(applied & cuts) for number in (draws.row[i], draws.column[i])]
    if case.mode == "batch":
        if not applied[0]:
            return Script(draws.applied)
        switched = draws.switched if both else []
        return Script([*draws.applied, *switched, *boxes], beta=draws.cutmix if cuts[0] else draws.mixup)
    if both:
        return Script([*draws.switched, *draws.applied, *boxes], beta=[*draws.cutmix, *draws.mixup])
    return Script([*draws.applied, *boxes], beta=draws.cutmix if case.cutmix > 0 else draws.mixup)


def sample() -> dict[str, np.ndarray]:
    """10,000 draws of the recipe's settings for 224 pixels, a lambda a batch: CutMix or not, lambda, box."""
    drawing = settings(inputs.Case(0.8, 1.0, "batch"), 1000)
    np.random.seed(inputs.SEED)
    cut, lam, boxes = np.zeros(SAMPLES, bool), np.ones(SAMPLES, np.float32), np.zeros((SAMPLES, 4), np.int16)
    for i in range(SAMPLES):
        lam[i], cut[i] = drawing._params_per_batch()
        if cut[i]:
            boxes[i], lam[i] = mixup.cutmix_bbox_and_lam((1, 3, 224, 224), lam[i])
    return {"sample/cut": cut, "sample/lam": lam, "sample/boxes": boxes}
