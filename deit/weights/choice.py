"""Raw or EMA weights of a run or checkpoint: the requested kind, or with ``auto`` the better one.

A moving average is not always better: after a short training with a long decay it still contains the initial weights. So
``auto`` compares the run's recorded evaluations of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deit import scores
from deit.errors import UserError
from deit.notes import note
from deit.runs import checkpoint

LABELS = {"val": "raw", "val_ema": "ema"}  # the value of task.weights, by the prefix of their metrics


@dataclass(frozen=True)
class Choice:
    """``weights`` is ``raw`` or ``ema``; ``reason`` says why, empty if there was no choice."""

    weights: str
    file: Path
    reason: str = ""


def choose(files: Mapping[str, Path], weights: str, source: str) -> Choice:
    """The choice of ``task.weights`` among the ``files`` of a run or checkpoint (by the prefix of their metrics).

    ``auto`` takes the better by the run's ``checkpointing.monitor`` (top-1), at equal ones the lower loss, and the EMA if that
    is equal too or one of them was never evaluated; it prints a note with both figures. Raises UserError, naming ``source``, if
    ``ema`` is requested and missing.
    """
    if weights == "ema" and "val_ema" not in files:
        raise UserError(f"{source}: has no EMA weights, but task.weights is ema; give task.weights=raw.")
    if weights == "raw" or "val_ema" not in files:
        return Choice("raw", files["val"])
    if weights == "ema" or "val" not in files:
        return Choice("ema", files["val_ema"])
    if files["val"] == files["val_ema"]:  # a training file of torch, which records no evaluation
        note(f"{source}: uses the raw weights; the file contains EMA weights too, for task.weights=ema.")
        return Choice("raw", files["val"])
    raw, ema = (recorded(files[prefix]) for prefix in ("val", "val_ema"))
    if raw is None or ema is None:
        choice = Choice("ema", files["val_ema"], "EMA weights; the run has not evaluated both kinds yet")
    else:
        name = _monitored(files["val"], raw, ema)
        better, other = ("val", "val_ema") if _rank(raw, name) > _rank(ema, name) else ("val_ema", "val")
        figures = {"val": f"raw {scores.spoken(raw, name)}", "val_ema": f"EMA {scores.spoken(ema, name)}"}
        which = {"val": "raw", "val_ema": "EMA"}[better]
        reason = f"{which} weights; {scores.label(name)} {figures[better]}, {figures[other]}"
        choice = Choice(LABELS[better], files[better], reason)
    note(f"{source}: uses the {choice.reason}. task.weights=raw or ema chooses.")
    return choice


def recorded(file: Path) -> dict[str, Any] | None:
    """The run's evaluation of the weights in a file of a checkpoint folder: top1, top5, loss, step.

    The evaluation of exactly these weights, else the last one before them; None if they were never evaluated.
    """
    state = checkpoint.read_state(file.parent)
    return _exactly(state, file) or _entry(state, file, "last")


def measured(file: Path) -> dict[str, Any] | None:
    """The evaluation of exactly these weights; None if there is none."""
    return _exactly(checkpoint.read_state(file.parent), file)


def _exactly(state: Mapping[str, Any], file: Path) -> dict[str, Any] | None:
    entries = (_entry(state, file, when) for when in ("best", "last"))
    return next((entry for entry in entries if entry is not None and entry["step"] == state["step"]), None)


def _entry(state: Mapping[str, Any], file: Path, when: str) -> dict[str, Any] | None:
    prefix = next(prefix for prefix, name in checkpoint.PARTS.items() if name == file.name)
    found: dict[str, Any] | None = state.get(when, {}).get(prefix)
    return found


def _monitored(file: Path, *entries: Mapping[str, Any]) -> str:
    """The figure by which the run of a checkpoint's file has its best: that of its checkpointing.monitor, else top-1."""
    name = str(checkpoint.read_state(file.parent).get("monitor", "")).partition("/")[2]
    return name if all(name in entry for entry in entries) else "top1"


def _rank(entry: Mapping[str, Any], name: str) -> tuple[float, float]:
    return scores.rank(entry, name), scores.rank(entry, "loss")
