"""Checkpoints: folders that appear only when they are complete.

    checkpoints/step_00000120/
        model.safetensors       weights, names as timm's (gamma and beta for norms), float32
        ema.safetensors         the moving average, if it is on
        optimizer.safetensors   moments and step count of the optimizer, loss scale
        state.json              step, epoch, model, best results; size and SHA-256 of each file and of itself
    checkpoints/best.json       {"val": {"checkpoint": "step_00000120", "top1": ...}, "val_ema": {...}}
    checkpoints/damaged_step_*  checkpoints found damaged at a resume; never deleted, never read again

Plain NumPy and safetensors, so that the control side can read a checkpoint without MindSpore, and nothing in a checkpoint is
ever executed.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors

from deit.config import frozen
from deit.errors import UserError
from deit.files import read_json, write_json
from deit.runs.directory import RunDirectory

STATE = "state.json"
PARTS = {"val": "model.safetensors", "val_ema": "ema.safetensors"}  # weights by the prefix of their metrics
MOST_STATE = 16 << 20  # bytes of state.json, most of them class names
FORMAT = 1  # of state.json; raised when older programs cannot read the new content
Weights = dict[str, NDArray[Any]]
# The names that safetensors uses for the types in a checkpoint.
DTYPES = {"float16": "F16", "float32": "F32", "float64": "F64", "int32": "I32", "int64": "I64", "uint8": "U8", "bool": "BOOL"}


class Damaged(UserError):
    """A checkpoint that is truncated, changed, or lacks one of its files."""


def folder_name(step: int) -> str:
    """Name of the checkpoint after ``step`` optimizer steps; sorts by step."""
    return f"step_{step:08d}"


def write(run: RunDirectory, step: int, parts: Mapping[str, Weights], state: Mapping[str, Any]) -> Path:
    """Write a checkpoint of ``parts`` (``model``, ``ema``, ``optimizer``) and ``state``.

    All is written and synced under another name, then renamed: a crash or an error, such as a full disk, leaves the whole
    folder or none. An existing folder of the same step is replaced.
    """
    final = run.checkpoints / folder_name(step)
    temporary = run.checkpoints / f".{final.name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        files = {f"{part}.safetensors": _write_tensors(temporary / f"{part}.safetensors", parts[part]) for part in parts}
        content = {"format": FORMAT, "step": step, **state, "files": files}
        text = json.dumps(content | {"sha256": _digest(content)}, indent=1)
        _write_synced(temporary / STATE, [text.encode()])
        if final.exists():
            _remove(final)
        temporary.rename(final)
        _sync_folder(run.checkpoints)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return final


def point_at_best(run: RunDirectory, best: Mapping[str, Mapping[str, Any]]) -> None:
    """Write ``best.json``. An entry whose checkpoint could not be written stays as it was."""
    try:
        known = best_of(run)
    except UserError:
        known = {}  # damaged: ``best`` has the content
    there = {name: entry for name, entry in best.items() if (run.checkpoints / entry["checkpoint"] / STATE).is_file()}
    kept = {name: entry for name, entry in known.items() if name in best and name not in there}
    write_json(run.best, kept | there)


def complete(run: RunDirectory) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(path for path in run.checkpoints.glob("step_*") if (path / STATE).is_file() and not path.is_symlink())


def best_of(run: RunDirectory) -> dict[str, dict[str, Any]]:
    """``best.json``: the best checkpoint of each kind of weights, empty if there is none yet.

    Raises UserError if it is damaged or names anything but a checkpoint of its own folder.
    """
    try:
        best = read_json(run.best) or {}
        names = [entry["checkpoint"] for entry in best.values()]
    except (ValueError, OSError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{run.best}: damaged ({type(error).__name__}: {error}).") from None
    if not set(best) <= set(PARTS):
        raise UserError(f"{run.best}: damaged, it contains {', '.join(map(repr, best))}; allowed: {', '.join(PARTS)}.")
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"step_\d{8,}", name):
            raise UserError(f"{run.best}: names {name!r}, which is not a checkpoint of this run, such as {folder_name(0)}.")
    return dict(best)


def newest_whole(run: RunDirectory) -> tuple[Path | None, list[Damaged]]:
    """(the newest undamaged checkpoint, the errors of each newer one); reads every byte.

    None if there is no checkpoint. Raises UserError, naming them, if there are some but all are damaged.
    """
    folders = sorted((path for path in run.checkpoints.glob("step_*") if not path.is_symlink()), reverse=True)
    damaged: list[Damaged] = []
    for path in folders:
        try:
            for name in read_state(path)["files"]:
                read_file(path / name)
        except Damaged as error:
            damaged.append(error)
        else:
            return path, damaged
    if damaged:
        reasons = "\n".join(f"  {error}" for error in damaged)
        raise UserError(
            f"resume: all checkpoints of {run} are damaged:\n{reasons}\nRepair one of them, or start a new run.", exit_code=1
        )
    return None, []


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint to ``damaged_<name>``, so that it is neither used nor deleted."""
    names = (f"damaged_{path.name}{f'.{number}' if number else ''}" for number in itertools.count())
    return path.rename(next(aside for name in names if not (aside := path.with_name(name)).exists()))


def prune(run: RunDirectory, keep_last: int) -> None:
    """Delete leftovers and all checkpoints but the ``keep_last`` newest and those that ``best.json`` or these call best.

    Keeping what an older checkpoint calls best lets a run that falls back to it find them.
    """
    there = complete(run)
    pointers: list[dict[str, Any]] = [best_of(run)]
    for path in there[-keep_last:]:
        try:
            pointers.append(read_state(path).get("best") or {})
        except UserError:
            continue  # damaged after it was written: left for the resume that will report it
    best = {entry["checkpoint"] for pointer in pointers for entry in pointer.values()}
    for path in there[:-keep_last]:
        if path.name not in best:
            _remove(path)
    for path in run.checkpoints.glob(".*.tmp"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:  # from ``best.json``
            path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    # Renamed first, so that a crash does not leave half a checkpoint.
    hidden = path.rename(path.with_name(f".{path.name}.removed.{os.getpid()}.tmp"))
    shutil.rmtree(hidden, ignore_errors=True)


def read_state(path: Path) -> dict[str, Any]:
    """``state.json`` of a checkpoint folder. Raises UserError if it is not a checkpoint, Damaged if it was one."""
    try:
        check_inside(path / STATE)
        if (path / STATE).stat().st_size > MOST_STATE:
            raise UserError(f"{path / STATE}: larger than {MOST_STATE} bytes, the limit for it.")
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Damaged(f"{path}: not a checkpoint, {STATE} is missing.") from None
    except (ValueError, OSError, RecursionError) as error:
        raise Damaged(f"{path / STATE}: damaged ({error}).") from None
    if not isinstance(state, dict) or not isinstance(state.get("files"), dict):
        raise Damaged(f"{path / STATE}: damaged, it lists no files.")
    expected = state.pop("sha256", None)  # older checkpoints have none
    changed = expected is not None and expected != _digest(state)
    # A flipped bit may look like another format: a wrong checksum always means damage.
    refusal = Damaged if changed else UserError
    for name, about in state["files"].items():
        if not re.fullmatch(r"\w+\.\w+", name):
            raise refusal(f"{path / STATE}: lists {name!r}, which is not a file of a checkpoint folder.")
        if not isinstance(about, dict) or type(about.get("bytes")) is not int or not isinstance(about.get("sha256"), str):
            raise Damaged(f"{path / STATE}: damaged, it does not say what is in {name}.")
    if state.get("format") != FORMAT:
        raise refusal(f"{path / STATE}: has format {state.get('format')}, this program reads format {FORMAT}.")
    if changed:
        raise Damaged(f"{path / STATE}: damaged, its SHA-256 differs from the recorded one.")
    return state


def check_inside(path: Path) -> None:
    """Raise UserError if a file of a checkpoint folder is a link: a folder may come from anybody."""
    if path.is_symlink():
        raise UserError(f"{path}: is a link, but a checkpoint must contain its files; replace it by the file.")


def read_part(path: Path, part: str) -> Weights:
    """The tensors of one part of a checkpoint folder, after checking its checksum."""
    file = path / f"{part}.safetensors"
    try:
        weights: Weights = parse_safetensors(read_file(file))
    except SafetensorError as error:
        raise Damaged(f"{file}: damaged ({error}).") from None
    return weights


def read_file(path: Path) -> bytes:
    """The content of a file of a checkpoint folder, after checking its checksum.

    Raises UserError if the folder has no such part, Damaged if the file has changed.
    """
    expected = read_state(path.parent)["files"].get(path.name)
    if expected is None:
        raise UserError(f"{path.parent}: has no {path.name}.")
    check_inside(path)
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size == expected["bytes"] else b""
    except OSError as error:
        kind = Damaged if error.errno in (errno.ENOENT, errno.EIO) else UserError  # missing permission is not damage
        raise kind(f"{path}: not readable ({error.strerror}).") from None
    if size != expected["bytes"]:
        raise Damaged(f"{path}: truncated, {size} of {expected['bytes']} bytes.")
    if hashlib.sha256(content).hexdigest() != expected["sha256"]:
        raise Damaged(f"{path}: damaged, its SHA-256 differs from the one in {STATE}.")
    return content


def weights_of_folder(path: Path) -> dict[str, Path]:
    """The files of raw (``val``) and EMA (``val_ema``) weights in a checkpoint, if it has them."""
    files = read_state(path)["files"]
    found = {prefix: path / name for prefix, name in PARTS.items() if name in files}
    for file in found.values():
        check_inside(file)
    return found


def weights_of_run(run: RunDirectory, which: str) -> dict[str, Path]:
    """The files of the ``best`` or the ``last`` raw and EMA weights of a run, by the prefix of their metrics.

    Raises UserError if the run has none yet, or is not a training.
    """
    existing = complete(run)
    best = best_of(run)
    if not existing or (which == "best" and not best):
        _refuse_other_tasks(run)
        raise UserError(f"{run}: this run has no {which} checkpoint yet.")
    if which == "last":
        return weights_of_folder(existing[-1])
    return {prefix: weights_of_folder(run.checkpoints / entry["checkpoint"])[prefix] for prefix, entry in best.items()}


def _refuse_other_tasks(run: RunDirectory) -> None:
    """Raises UserError if the run is known not to be a training: it will never have a checkpoint."""
    config = frozen.load(run.config) if run.config.is_file() else None
    if config is not None and config.task.name != "train":
        of = config.run or config.checkpoint
        raise UserError(
            f"{run}: is a run of task={config.task.name}, which has no checkpoints; give a training"
            f"{f', such as the one it used, {of}' if of else ''}."
        )


def _write_tensors(path: Path, weights: Weights) -> dict[str, Any]:
    """Write a safetensors file; returns its size and SHA-256 as they were in memory.

    It is written array by array: the library would make two more copies in memory, and hold the GIL meanwhile, which the
    running training needs.
    """
    # Larger elements first, so that each array begins at a multiple of its element's size.
    arrays = sorted(weights.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {}
    end = 0
    for name, value in arrays:
        header[name] = {"dtype": DTYPES[value.dtype.name], "shape": value.shape, "data_offsets": [end, end + value.nbytes]}
        end += value.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pieces = [len(text).to_bytes(8, "little"), text]
    pieces += [np.ascontiguousarray(value).reshape(-1).view(np.uint8).data for _, value in arrays]  # type: ignore[misc]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    _write_synced(path, pieces)
    return {"bytes": 8 + len(text) + end, "sha256": digest.hexdigest()}


def _digest(state: Mapping[str, Any]) -> str:
    """The SHA-256 of the content of ``state.json``, whatever its layout."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _write_synced(path: Path, pieces: Sequence[bytes | memoryview]) -> None:
    with open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run_of_checkpoint(file: Path) -> RunDirectory | None:
    """The run that contains a checkpoint folder or a file in one; None if there is none."""
    folder = file if file.is_dir() else file.parent
    above = folder.parent.parent
    return RunDirectory(above) if (folder / STATE).is_file() and (above / "config.yaml").is_file() else None
