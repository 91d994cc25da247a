"""The one-line summary of the augmentation."""

from __future__ import annotations

from composition import freeze

from deit.recipe.augmentation import summary


def test_summary_names_the_active_augmentations() -> None:
    deit = summary(freeze("model=deit_small").augment)
    assert deit == "crop 0.08-1, flip 0.5, rand-m9-mstd0.5-inc1, erase 0.25, smoothing 0.1, mixup 0.8 or CutMix 1"
    assert summary(freeze("augment=none").augment) == "crop 1-1"
    assert summary(freeze("experiment=quickstart").augment).endswith("mixup 0.2 or CutMix 0.5 with probability 0.2")
