"""A PNG of one image and the attention of its special tokens: a row per token, the rollout first, then the heads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deit.engine.attention import Maps
from deit.files import whole_file
from deit.inference.picture import drawable

COLUMNS = 8  # maximum pictures per row
SIDE = 1.9  # of a picture, inches
FAINTEST = 0.35  # brightness where the attention is zero
LONGEST = 60  # maximum characters of a name


@dataclass(frozen=True)
class Seen:
    """``pixels`` uint8 [H, W, 3] as the network gets them; ``guesses`` the most likely classes with their probabilities."""

    pixels: np.ndarray
    name: str
    right: str | None
    guesses: list[tuple[str, float]]
    maps: list[Maps]


def draw(path: Path, seen: Seen, title: str) -> None:
    """Write the picture; the file appears only when it is complete."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: takes half a second
    from matplotlib.figure import Figure

    heads = len(seen.maps[0].heads)
    columns = min(COLUMNS, 2 + heads)
    lines = 1 + max(0, -(-(heads - (columns - 2)) // columns))  # per token
    figure = Figure(figsize=(SIDE * columns + 0.3, (SIDE + 0.3) * lines * len(seen.maps) + 0.45), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines * len(seen.maps), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for number, found in enumerate(seen.maps):
        places = iter(axes[number * lines : (number + 1) * lines].flat)
        _show(next(places), seen.pixels, "image")
        _show(next(places), _lit(seen.pixels, found.rollout), f"{found.token}\nrollout of all blocks")
        for head, attention in enumerate(found.heads):
            _show(next(places), _lit(seen.pixels, attention), f"last block\nhead {head}")
    figure.suptitle(
        f"{_shortened(seen.name)}: {_said(seen)}\n{title}; bright: attended to, each picture by its own maximum", fontsize=9
    )
    with whole_file(path, durable=False) as file:
        # Without matplotlib's version in the file, equal pictures are equal files.
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})


def _show(ax: Any, image: np.ndarray, title: str) -> None:
    # Small images show their pixels.
    ax.imshow(image, interpolation="nearest" if len(image) < 100 else "antialiased")
    ax.set_title(title, fontsize=8)


def _lit(pixels: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """The image, grey and dark, coloured by the attention [rows, columns] of its patches; float [H, W, 3] in 0..1."""
    from matplotlib import colormaps

    height, width = pixels.shape[:2]
    scaled = (attention / max(float(attention.max()), 1e-12)).astype(np.float32)
    smooth = np.clip(np.asarray(Image.fromarray(scaled).resize((width, height), Image.Resampling.BILINEAR)), 0, 1)
    grey = (pixels @ np.array([0.299, 0.587, 0.114]) / 255)[..., None]
    colours = colormaps["inferno"](smooth)[..., :3]
    weight = 0.85 * smooth[..., None]
    return np.clip((1 - weight) * grey * (FAINTEST + (1 - FAINTEST) * smooth[..., None]) + weight * colours, 0, 1)


def _said(seen: Seen) -> str:
    guesses = ", ".join(f"{_named(name)} {100 * share:.1f} %" for name, share in seen.guesses)
    return guesses + (f" (right: {_named(seen.right)})" if seen.right is not None else "")


def _named(name: str) -> str:
    return _shortened(name) if drawable(name) else "?"


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}"
