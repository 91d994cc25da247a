"""Warn of labels that may be counted differently: weights that name no classes, on folders that timm orders differently."""

from __future__ import annotations

from collections.abc import Sequence

from deit.config.class_names import natural
from deit.config.schema import DataConfig
from deit.notes import note


def warn_of_order(data: DataConfig, classes: Sequence[str], source: str) -> None:
    """Say once that the head of weights without class names, from ``source``, may have its classes in timm's order.

    Folders are sorted as text here (0, 1, 10, 2), as in torchvision, and by their numbers in timm (0, 1, 2, 10).
    """
    theirs = natural(classes)
    if data.source != "imagefolder" or data.class_map is not None or theirs == list(classes):
        return
    label = next(i for i, (own, other) in enumerate(zip(classes, theirs, strict=True)) if own != other)
    note(
        f"{source}: does not name its classes, and timm orders these folders by their numbers: label {label} is "
        f"{classes[label]} here and {theirs[label]} there. If it was trained with timm, give data.class_map=FILE, its list "
        "of classes."
    )
