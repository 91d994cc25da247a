"""Checkpoints: folders that appear only when they are complete.

    checkpoints/step_00000120/
        model.safetensors       weights, names as timm's (gamma and beta for norms), float32
        ema.safetensors         the moving average, where it is on
        optimizer.safetensors   moments and step count of the optimizer, loss scale
        state.json              step, epoch, model, best results; size and SHA-256 of each file
    checkpoints/best.json       {"val": {"checkpoint": "step_00000120", "top1": ...}, "val_ema": {...}}

Plain numpy and safetensors, so that the control side can look into a checkpoint without MindSpore, and
nothing in a checkpoint is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as format_safetensors

from deit.errors import UserError
from deit.runs.directory import RunDirectory, read_json

STATE = "state.json"
FORMAT = 1  # of state.json; raised when a program of before could not read what is written now
Weights = dict[str, np.ndarray]


def folder_name(step: int) -> str:
    """Name of the checkpoint after ``step`` optimizer steps; sorts by step."""
    return f"step_{step:08d}"


def write(run: RunDirectory, step: int, parts: Mapping[str, Weights], state: Mapping[str, Any]) -> Path:
    """Write a checkpoint of ``parts`` (``model``, ``ema``, ``optimizer``) and ``state``.

    All is written and synced under another name, then renamed: a crash leaves either the whole folder or
    none. A folder of the same step, left by an earlier attempt, is replaced.
    """
    final = run.checkpoints / folder_name(step)
    temporary = run.checkpoints / f".{final.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    files = {}
    for part, weights in parts.items():
        content = format_safetensors({name: np.asarray(value, order="C") for name, value in weights.items()})
        _write_synced(temporary / f"{part}.safetensors", content)
        files[f"{part}.safetensors"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    _write_synced(temporary / STATE, json.dumps({"format": FORMAT, "step": step, **state, "files": files}, indent=1).encode())
    if final.exists():
        shutil.rmtree(final)
    temporary.rename(final)
    _sync_folder(run.checkpoints)
    return final


def complete(run: RunDirectory) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(path for path in run.checkpoints.glob("step_*") if (path / STATE).is_file())


def prune(run: RunDirectory, keep_last: int) -> None:
    """Delete all but the ``keep_last`` newest checkpoints and those ``best.json`` points at, and torn leftovers."""
    best = {entry["checkpoint"] for entry in (read_json(run.best) or {}).values()}
    for path in complete(run)[:-keep_last]:
        if path.name not in best:
            # The state goes first: without it the folder is no checkpoint, whatever of it is left by a crash.
            (path / STATE).unlink()
            shutil.rmtree(path)
    torn = [path for path in run.checkpoints.glob("step_*") if not (path / STATE).is_file()]
    for path in (*torn, *run.checkpoints.glob(".step_*.tmp")):
        shutil.rmtree(path, ignore_errors=True)


def read_state(path: Path) -> dict[str, Any]:
    """``state.json`` of a checkpoint folder. Raises UserError where it is none."""
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not a checkpoint, it holds no {STATE}.") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path / STATE}: damaged ({error}).") from None
    if not isinstance(state, dict) or not isinstance(state.get("files"), dict):
        raise UserError(f"{path / STATE}: damaged, it lists no files.")
    if state.get("format") != FORMAT:
        raise UserError(f"{path / STATE}: has format {state.get('format')}, this program reads format {FORMAT}.")
    return state


def read_part(path: Path, part: str) -> Weights:
    """The tensors of one part of a checkpoint folder, after its checksum has been compared."""
    return parse_safetensors(read_file(path / f"{part}.safetensors"))


def read_file(path: Path) -> bytes:
    """The content of a file of a checkpoint folder, after its checksum has been compared.

    Raises UserError where the folder has no such file, or where it is not what was written.
    """
    expected = read_state(path.parent)["files"].get(path.name)
    if expected is None:
        raise UserError(f"{path.parent}: has no {path.name}.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}).") from None
    if len(content) != expected["bytes"]:
        raise UserError(f"{path}: truncated, {len(content)} of {expected['bytes']} bytes.")
    if hashlib.sha256(content).hexdigest() != expected["sha256"]:
        raise UserError(f"{path}: damaged, its SHA-256 is not the one in {STATE}.")
    return content


def weights_of_folder(path: Path) -> dict[str, Path]:
    """The files of raw (``val``) and EMA (``val_ema``) weights of a checkpoint, as far as it has them."""
    files = read_state(path)["files"]
    names = {"val": "model.safetensors", "val_ema": "ema.safetensors"}
    return {prefix: path / name for prefix, name in names.items() if name in files}


def weights_of_run(run: RunDirectory, which: str) -> dict[str, Path]:
    """The files of the ``best`` or the ``last`` raw and EMA weights of a run, by the prefix of their metrics.

    Raises UserError where the run has none yet.
    """
    existing = complete(run)
    best = read_json(run.best) or {}
    if not existing or (which == "best" and not best):
        raise UserError(f"{run}: this run has no {which} checkpoint yet.")
    if which == "last":
        return weights_of_folder(existing[-1])
    return {prefix: weights_of_folder(run.checkpoints / entry["checkpoint"])[prefix] for prefix, entry in best.items()}


def _write_synced(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
