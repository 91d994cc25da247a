"""Load weights of one model into another: matching ones are taken, all others are reported.

taken      same name, same shape
resized    the position embedding, for another image size or another number of tokens before the patches
adapted    the patch embedding, for another number of colour channels
replaced   a head for other classes: starts from initial weights
missing    in the model, not in the file: starts from initial weights
extra      in the file, not in the model: ignored
misshapen  another shape: starts from initial weights
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from deit.config import class_names
from deit.models.shapes import HEADS
from deit.weights.channels import adapt, can_adapt
from deit.weights.naming import to_mindspore
from deit.weights.pos_embed import Grid, resize, side

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

POS_EMBED, DIST_TOKEN, PATCHES = "pos_embed", "dist_token", "patch_embed.proj.weight"
REPLACEABLE = (*HEADS, DIST_TOKEN)  # they belong to the classes or to distillation, not to the body


@dataclass
class Fit:
    """How the weights of a file fit a model; names are MindSpore's, a pair of shapes is (the file's, the model's)."""

    taken: list[str] = field(default_factory=list)
    resized: dict[str, str] = field(default_factory=dict)  # name -> change
    adapted: dict[str, str] = field(default_factory=dict)  # name -> change
    replaced: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    misshapen: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)

    @property
    def useless(self) -> bool:
        """Whether nothing was taken except heads: those with the same number of classes fit any model."""
        return all(name.startswith(HEADS) for name in self.taken)

    @property
    def lost(self) -> list[str]:
        """Why it is only a part of a network, one line per kind: blocks, norms or embeddings that start from initial weights,
        ignored tensors of the file. Heads and the distillation token may change.
        """
        told = []
        if missing := [name for name in self.missing if not name.startswith(REPLACEABLE)]:
            told.append(f"not in the file: {some(missing)}")
        if extra := [name for name in self.extra if not name.startswith(REPLACEABLE)]:
            told.append(f"unknown to the model: {some(extra)}")
        if self.misshapen:
            shapes = (f"{name} {old} instead of {new}" for name, (old, new) in self.misshapen.items())
            told.append(f"of another shape: {some(shapes)}")
        return told

    def to_dict(self) -> dict[str, object]:
        """As JSON, with every name."""
        return dataclasses.asdict(self)

    def lines(self) -> list[str]:
        """One line for each kind that was not simply taken; long lists are cut."""
        told = [f"{len(self.taken)} parameters taken as they are"]
        told += [f"{name} resized {how}" for name, how in self.resized.items()]
        told += [f"{name} adapted {how}" for name, how in self.adapted.items()]
        told += [
            f"{name} is initial, for "
            + (f"{new[0]} classes instead of the file's {old[0]}" if old[0] != new[0] else "other classes than the file's")
            for name, (old, new) in self.replaced.items()
            if len(new) == 2  # a bias follows its weight
        ]
        if self.missing:
            told.append(f"not in the file, so initial: {some(self.missing)}")
        if self.extra:
            told.append(f"not in the model, so ignored: {some(self.extra)}")
        if self.misshapen:
            shapes = (f"{name} {old} instead of {new}" for name, (old, new) in self.misshapen.items())
            told.append(f"of another shape, so initial: {some(shapes)}")
        return told


Grids = tuple[Grid | None, Grid | None]  # the patches of the file's and of the model's images; None is a square


def compare(found: Shapes, needed: Shapes, *, other_classes: bool = False, grids: Grids = (None, None)) -> Fit:
    """How weights of the shapes ``found`` (named by timm or by MindSpore) fit a model with the shapes ``needed``
    (``deit.models.shapes.parameter_shapes``). Needs no weights, so it works before anything starts.

    With ``other_classes`` heads are replaced even if their shapes fit, because the classes differ. ``grids`` tell position
    embeddings of as many patches in another arrangement apart.
    """
    found = to_mindspore(found)
    fitting = Fit(missing=[name for name in needed if name not in found], extra=[name for name in found if name not in needed])
    for name, new in needed.items():
        if name not in found:
            continue
        old = found[name]
        how = _resizing(found, needed, grids) if name == POS_EMBED else None
        rearranged = how is not None and None not in grids and grids[0] != grids[1]
        if old == new and not rearranged and not (other_classes and name.startswith(HEADS)):
            fitting.taken.append(name)
        elif how is not None:
            fitting.resized[name] = how
        elif name == PATCHES and can_adapt(old, new):
            fitting.adapted[name] = f"from {old[1]} to {new[1]} colour channels"
        elif name.startswith(HEADS) and len(old) == len(new) and old[1:] == new[1:]:
            fitting.replaced[name] = (old, new)
        else:
            fitting.misshapen[name] = (old, new)
    return fitting


def fit(
    weights: Mapping[str, np.ndarray],
    initial: Mapping[str, np.ndarray],
    known: Sequence[str] | None = None,
    wanted: Sequence[str] | None = None,
    *,
    antialias: bool = False,
    grids: Grids = (None, None),
) -> tuple[dict[str, np.ndarray], Fit]:
    """All weights of a model, and how they were combined: ``weights`` (named by timm or by MindSpore) where they fit, else
    ``initial`` (MindSpore's names). Shapes, types and order are those of ``initial``.

    ``known`` are the class names of ``weights``, ``wanted`` those of the model, if they are known: the rows of the heads are
    reordered for another order of the same names, and heads of other names are replaced. ``antialias`` is
    model.pos_embed_antialias, ``grids`` as in ``compare``.
    """
    weights = to_mindspore(weights)
    other = other_classes(known, wanted)
    fitting = compare(_shapes(weights), _shapes(initial), other_classes=other, grids=grids)
    if known is not None and wanted is not None and not other:
        rows = class_names.positions(wanted, known)
        weights |= {name: weights[name][rows] for name in fitting.taken if name.startswith(HEADS)}
    fitted = dict(initial)
    for name in fitting.taken:
        fitted[name] = weights[name].astype(initial[name].dtype)
    if POS_EMBED in fitting.resized:
        fitted[POS_EMBED] = _resized(weights, initial, antialias, grids)
    for name in fitting.adapted:
        fitted[name] = adapt(weights[name], initial[name].shape[1]).astype(initial[name].dtype)
    return fitted, fitting


def other_classes(known: Sequence[str] | None, wanted: Sequence[str] | None) -> bool:
    """Whether two lists are known to name different classes; their order does not matter."""
    return known is not None and wanted is not None and class_names.positions(wanted, known) is None


def _shapes(weights: Mapping[str, np.ndarray]) -> dict[str, Shape]:
    return {name: value.shape for name, value in weights.items()}


def _special(shapes: Shapes, grid: Grid | None) -> list[str]:
    """The tokens before the patches with a row in the position embedding: none if its rows form the grid, or a square."""
    rows = shapes[POS_EMBED][1]
    if rows == math.prod(grid) if grid is not None else side(rows, 0) is not None:
        return []
    return ["class token", "distillation token"] if DIST_TOKEN in shapes else ["class token"]


def _grid(shapes: Shapes, grid: Grid | None) -> Grid | None:
    """The grid of the position embedding: the known one, or a square; None if its rows do not form that."""
    shape = shapes[POS_EMBED]
    if len(shape) != 3:
        return None
    special = len(_special(shapes, grid))
    if grid is not None:
        return grid if math.prod(grid) == shape[1] - special else None
    square = side(shape[1], special)
    return None if square is None else (square, square)


def _resizing(found: Shapes, needed: Shapes, grids: Grids) -> str | None:
    """The change of the position embedding; None if it cannot be made to fit."""
    old, new = _grid(found, grids[0]), _grid(needed, grids[1])
    if old is None or new is None or found[POS_EMBED][2] != needed[POS_EMBED][2]:
        return None
    done = [f"from {old[0]} x {old[1]} to {new[0]} x {new[1]} patches"] if old != new else []
    rows, wanted = _special(found, grids[0]), _special(needed, grids[1])
    done += [f"without the row of the {token}" for token in rows if token not in wanted]
    done += [f"with an initial row for the {token}" for token in wanted if token not in rows]
    return ", ".join(done)


def _resized(weights: Mapping[str, np.ndarray], initial: Mapping[str, np.ndarray], antialias: bool, grids: Grids) -> np.ndarray:
    old, new = weights[POS_EMBED], initial[POS_EMBED]
    grid = _grid(_shapes(initial), grids[1])
    assert grid is not None
    rows, wanted = len(_special(_shapes(weights), grids[0])), len(_special(_shapes(initial), grids[1]))
    both = min(rows, wanted)
    patches = resize(old, rows, grid, old=grids[0], antialias=antialias)[:, rows:]
    return np.concatenate([old[:, :both], new[:, both:wanted], patches], axis=1).astype(new.dtype)


def some(names: Iterable[str]) -> str:
    """The first names, and their total number."""
    listed = list(names)
    return ", ".join(listed[:3]) + (f", ... ({len(listed)})" if len(listed) > 3 else f" ({len(listed)})")
