"""Mixup and CutMix against timm's: what given draws make of images and targets, and how draws are distributed."""

from __future__ import annotations

from collections.abc import Callable

import mindspore as ms
import numpy as np
import pytest
from distributions import kolmogorov_smirnov, shares
from fidelity import load, worst
from mindspore import Tensor, nn
from reference import inputs_mixing as inputs
from reference.packing import checksum
from reference.scripted import Script

from deit.config.schema import AugmentConfig
from deit.engine.mixing import draw, mix_images, soft_targets
from deit.randomness import generator

T032 = "timm 0.3.2 Mixup"


def settings(case: inputs.Case) -> AugmentConfig:
    return AugmentConfig(
        mixup=case.mixup,
        cutmix=case.cutmix,
        mixup_prob=case.prob,
        mixup_switch_prob=case.switch_prob,
        mixup_mode=case.mode,
        smoothing=case.smoothing,
    )


def in_our_order(case: inputs.Case, draws: inputs.Draws) -> Script:
    """One thing after the other, and of each only what it needs."""
    both = case.mixup > 0 and case.cutmix > 0
    uniform, lambdas = [], []
    for applied, switched, mixup, cutmix, row, column in zip(*draws.inputs, strict=True):
        uniform.append(applied)
        if applied < case.prob:
            uniform += [switched] if both else []
            cuts = switched < case.switch_prob if both else case.cutmix > 0
            uniform += [row, column] if cuts else []
            lambdas.append(cutmix if cuts else mixup)
    return Script(uniform, beta=lambdas)


class Mixing(nn.Cell):
    """What the train step does, as a graph."""

    def __init__(self, smoothing: float) -> None:
        super().__init__()
        self.smoothing = smoothing

    def construct(self, images, labels, blend, box, lam):
        return mix_images(images, blend, box), soft_targets(labels, lam, inputs.CLASSES, self.smoothing)


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize("name", inputs.CASES)
def test_given_draws(name: str, fidelity: Callable[..., None]) -> None:
    case, stored = inputs.CASES[name], load("mixing")
    cell = Mixing(case.smoothing)
    images, targets, given = [], [], []
    for number in range(inputs.ROUNDS):
        x, labels, draws = inputs.images(number), inputs.labels(number), inputs.draws(case, number)
        script = in_our_order(case, draws)
        mix = draw(settings(case), inputs.BATCH, (inputs.SIZE, inputs.SIZE), script)
        assert script.spent()
        mixed, target = cell(Tensor(x), Tensor(labels, ms.int32), Tensor(mix.blend), Tensor(mix.box), Tensor(mix.lam))
        images.append(mixed.asnumpy())
        targets.append(target.asnumpy())
        given += [x, labels, *draws.inputs]
    assert checksum(given) == stored[f"{name}/inputs"]
    for what, ours in (("Images", images), ("Targets", targets)):
        fidelity(
            f"{what} that given draws make: {case.mode} mode; mixup, CutMix, either, and neither by chance",
            section="Mixing",
            reference=T032,
            tolerance=1e-6,
            measured=worst(np.stack(ours), stored[f"{name}/{what.lower()}"]),
        )


def test_the_cases_reach_what_they_are_for() -> None:
    """Boxes of odd sides before halving, boxes cut off at each border, batches left alone: none may be missing by chance."""
    sides, boxes, alone = set(), [], 0
    for case in inputs.CASES.values():
        for number in range(inputs.ROUNDS):
            draws = inputs.draws(case, number)
            mix = draw(settings(case), inputs.BATCH, (inputs.SIZE, inputs.SIZE), in_our_order(case, draws))
            boxes += [tuple(box) for box in mix.box if box.any()]
            sides |= {int(inputs.SIZE * np.sqrt(1 - lam)) % 2 for lam in draws.cutmix}
            alone += int(np.all(mix.lam == 1))
    tops, bottoms, lefts, rights = np.array(boxes).T
    assert sides == {0, 1} and alone > 0
    assert tops.min() == lefts.min() == 0 and bottoms.max() == rights.max() == inputs.SIZE
    assert tops.max() > 3 and lefts.max() > 3


def test_distribution_of_draws(fidelity: Callable[..., None]) -> None:
    stored = load("mixing")
    augment = settings(inputs.Case(0.8, 1.0, "batch"))
    ours = [draw(augment, 2, (224, 224), generator(0, "mixing", number)) for number in range(len(stored["sample/lam"]))]
    box, lam = np.array([mix.box[0] for mix in ours]), np.array([mix.lam[0] for mix in ours])
    cut = np.array([mix.blend[0] == 1 for mix in ours])
    theirs = stored["sample/cut"]
    compared = {"mixup's lambda": (lam[~cut], stored["sample/lam"][~theirs])}
    compared["CutMix's lambda, of the clipped box"] = (lam[cut], stored["sample/lam"][theirs])
    for i, edge in enumerate(("top", "bottom", "left", "right")):
        compared[f"{edge} edge of CutMix's box"] = (box[cut, i], stored["sample/boxes"][theirs, i])
    for what, (sample, reference) in compared.items():
        statistic, critical = kolmogorov_smirnov(sample, reference)
        fidelity(
            f"Distribution of {what}, 10,000 batches: Kolmogorov-Smirnov statistic (limit: p = 0.001)",
            section="Mixing",
            reference=T032,
            tolerance=critical,
            measured=statistic,
        )
    statistic, critical = shares([cut.sum(), (~cut).sum()], [theirs.sum(), (~theirs).sum()])
    fidelity(
        "Share of CutMix, 10,000 batches: chi-squared statistic (limit: p = 0.001)",
        section="Mixing",
        reference=T032,
        tolerance=critical,
        measured=statistic,
    )
