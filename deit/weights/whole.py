"""Whether a file contains exactly the weights of one model: its names, shapes and metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deit.config.schema import ModelConfig, RunConfig, sides
from deit.errors import UserError
from deit.models.shapes import parameter_shapes
from deit.runs.checkpoint import run_of_checkpoint
from deit.weights.fit import Fit, some
from deit.weights.naming import to_mindspore
from deit.weights.read import read_shapes, said_of

# Everything that defines a network except the image size, for which position embeddings can be resized. Shapes do not show
# num_heads.
STRUCTURE = ("patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "distilled", "no_embed_class", "in_chans")


def require_exact(path: Path, model: ModelConfig, classes: int, key: str, weights: str = "raw") -> None:
    """Compare a weight file with a model, reading only its header; ``weights`` as in ``read_weights``.

    Raises UserError naming ``key`` if the file is missing, damaged, or not of exactly this model.
    """
    try:
        shapes, metadata = read_shapes(path, weights)
        found = to_mindspore(shapes)
    except UserError as error:
        raise UserError(f"{key}={error}") from None
    needed = parameter_shapes(model, classes)
    differing = [
        f"{name} {found[name]} instead of {shape}" for name, shape in needed.items() if found.get(name, shape) != shape
    ]
    missing = [name for name in needed if name not in found]
    extra = [name for name in found if name not in needed]
    listed = [
        f"{what}: {some(names)}"
        for what, names in (("missing", missing), ("not in the model", extra), ("other shape", differing))
        if names
    ]
    listed += contradictions(metadata, model) + _other_size(metadata, model)
    if listed:
        listed += [said] if (said := said_of(path)) else []
        listed += recipe_of(path) if key == "checkpoint" else []
        raise UserError(f"{key}={path}: belongs to another model than {model.name}: " + "; ".join(listed) + ".")


def require_whole(fitting: Fit, config: RunConfig) -> None:
    """Reject a training that would start from a part of a network, or from nothing of ``model.pretrained``.

    Raises UserError that names what is missing, and how to accept it if something is left.
    """
    path = Path(config.model.pretrained or "")
    reasons = fitting.lost if not fitting.useless else fitting.lines()[1:]
    try:
        told = contradictions(read_shapes(path)[1], config.model, ("num_heads",))
    except UserError as error:
        raise UserError(f"model.pretrained={error}") from None
    said = [text] if (text := said_of(path)) else []
    if fitting.useless:
        raise UserError(f"model.pretrained={path}: nothing in it fits {config.model.name}: " + "; ".join(reasons + said) + ".")
    if told or (reasons and not config.model.pretrained_partial):
        accept = "" if told else " model.pretrained_partial=true loads what fits and initialises the rest."
        listed = "; ".join(reasons + told + said)
        raise UserError(f"model.pretrained={path}: only a part of it fits {config.model.name}: {listed}.{accept}")


def check_classifier(path: Path, model: ModelConfig, key: str, weights: str = "raw") -> int:
    """The number of classes of the weights in a file, which must be exactly those of ``model``.

    Raises UserError as ``require_exact`` does, and if the file has no head.
    """
    try:
        head = read_shapes(path, weights)[0].get("head.weight")
    except UserError as error:
        raise UserError(f"{key}={error}") from None
    if not head:
        raise UserError(f"{key}={path}: has no head.weight, so it is not a classifier of this program or of timm's DeiT.")
    require_exact(path, model, head[0], key, weights)
    return head[0]


def contradictions(metadata: Mapping[str, str], model: ModelConfig, names: Sequence[str] = STRUCTURE) -> list[str]:
    """Differences between the configuration of a model and a file's metadata; empty if it has none."""
    try:
        told: dict[str, Any] = json.loads(metadata["model"])
        return [
            f"the file says {name}={told[name]}, the configuration {getattr(model, name)}; give model.{name}={told[name]}"
            for name in names
            if name in told and told[name] != getattr(model, name)
        ]
    except (KeyError, ValueError, TypeError):
        return []


def _other_size(metadata: Mapping[str, str], model: ModelConfig) -> list[str]:
    """A difference of the image size that the number of patches does not show: 64 x 96 and 96 x 64."""
    try:
        told = json.loads(metadata["model"])["img_size"]
        if sides(told) != model.image_size:
            return [f"the file says img_size={told}, the configuration {model.img_size}; give model.img_size={told}"]
    except (KeyError, ValueError, TypeError):
        pass
    return []


def recipe_of(path: Path) -> list[str]:
    """How to get the recipe of weights in a run; empty if they are in no run."""
    run = run_of_checkpoint(path)
    return [] if run is None else [f"run={run} instead of checkpoint= also loads its recipe"]
