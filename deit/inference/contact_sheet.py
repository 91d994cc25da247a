"""``predictions.png``: images next to the network's input, with the most likely classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deit.config.schema import RunConfig
from deit.data.transform import EvalTransform
from deit.inference.images import Images
from deit.inference.labelled import FoundImages
from deit.inference.picture import Card, draw, drawable

FILE = "predictions.png"
MOST = 20  # images shown, here and on the terminal


@dataclass(frozen=True)
class Shown:
    """One image of a prediction: its number in the input, the network's input (uint8 [H, W, C]), its most likely classes."""

    row: int
    seen: np.ndarray
    top: list[tuple[int, float]]


def chosen(count: int) -> list[int]:
    """The numbers of at most ``MOST`` of ``count`` images, spread evenly over all classes of a tree."""
    return [number * count // min(MOST, count) for number in range(min(MOST, count))]


def draw_sheet(path: Path, shown: list[Shown], images: Images, classes: list[str], config: RunConfig) -> None:
    """Write the sheet of ``shown``, at least one; the file appears only when it is complete."""
    names = [name if drawable(name) else f"class {label}" for label, name in enumerate(classes)]
    data = FoundImages(images, config.data)
    cards = [
        Card(
            original=data.image(one.row),
            seen=one.seen,
            name=_name(one, images, names),
            shares=[(names[label], share) for label, share in one.top[:2]],
        )
        for one in shown
    ]
    transform = EvalTransform(config)
    which = f"{len(shown)} of {len(images):,} images" if len(shown) < len(images) else f"{len(shown)} images"
    how = f"left: the image, right: the {transform.size[0]} x {transform.size[1]} pixels of the network's input"
    draw(path, f"{config.name}: predictions", [f"{which}; {how}, with the most likely classes"], cards)


def _name(one: Shown, images: Images, names: list[str]) -> str:
    file = images.names[one.row].rpartition("/")[2]
    file = file if drawable(file) else f"image {one.row + 1}"
    if images.labels is None:
        return file
    label = int(images.labels[one.row])
    return f"{file}, {'is' if one.top and one.top[0][0] == label else 'but is'} {names[label]}"
