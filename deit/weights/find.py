"""From what a user types to the file of weights it stands for."""

from __future__ import annotations

import re
from pathlib import Path

from deit.config.schema import RunConfig
from deit.errors import UserError, nearest
from deit.lookup.runs import find_run
from deit.runs import checkpoint
from deit.weights.official import OFFICIAL, Official
from deit.weights.read import SUFFIXES

MINDIR = ".mindir"  # a network with its weights; it can only teach


def find_weights(text: str, key: str, config: RunConfig) -> Path:
    """The file that ``text``, the value of ``key``, stands for, as an absolute path. In this order:

    1. a file (.safetensors, .pth, .pt, .bin, a teacher also .mindir),
    2. a checkpoint folder: its moving average, else its raw weights,
    3. an official name, whose file stands in ``config.weights_dir``,
    4. a run directory, ``last`` (the newest training), an MLflow run id: the best moving average, else the best raw weights.

    Raises UserError where there is none. The file's content is not looked at.
    """
    path = Path(text).expanduser()
    if path.is_file():
        if path.suffix not in _files(key):
            raise UserError(f"{key}={text}: weights are read from {', '.join(_files(key))} files.")
        return path.resolve()
    if (path / checkpoint.STATE).is_file():
        return _averaged(checkpoint.weights_of_folder(path))
    if text in OFFICIAL and not path.exists():
        return _official(OFFICIAL[text], key, config)
    if path.is_dir() or text == "last" or re.fullmatch(r"[0-9a-f]{32}", text):
        uri = config.tracking.uri if config.tracking.backend == "mlflow" else None
        return _averaged(checkpoint.weights_of_run(find_run(text, key, config.runs_dir, uri), "best"))
    raise UserError(
        f"{key}={text}: there is no such file or folder.{nearest(text, OFFICIAL)} Allowed: a file ({', '.join(_files(key))}), "
        f"a checkpoint folder, a run directory, `last`, an MLflow run id, or an official name such as {next(iter(OFFICIAL))}."
    )


def files_of_checkpoint(text: str, config: RunConfig) -> dict[str, Path]:
    """The files that ``checkpoint=text`` stands for, by the prefix of their metrics: raw (``val``) and, in a checkpoint folder
    that has it, EMA (``val_ema``). A file or an official name stands for raw weights alone.

    Raises UserError where there is none.
    """
    path = Path(text).expanduser()
    if (path / "config.yaml").is_file():
        raise UserError(f"checkpoint={text}: is a run directory, not one of its checkpoints; give run={text}.")
    if path.is_dir():
        return checkpoint.weights_of_folder(path.resolve())
    if path.exists() or text in OFFICIAL:
        return {"val": find_weights(text, "checkpoint", config)}
    raise UserError(
        f"checkpoint={text}: there is no such file or folder.{nearest(text, OFFICIAL)} Allowed: a file "
        f"({', '.join(SUFFIXES)}), a checkpoint folder, or an official name such as {next(iter(OFFICIAL))}."
    )


def one_of(files: dict[str, Path], weights: str, source: str) -> tuple[str, Path]:
    """Which of the ``files`` of a run or checkpoint ``task.weights`` means: ``raw`` or ``ema``, and its file.

    ``auto`` is the moving average where there is one. Raises UserError, naming ``source``, where ``ema`` is not there.
    """
    if weights == "ema" and "val_ema" not in files:
        raise UserError(f"{source}: has no moving average, but task.weights is ema; give task.weights=raw.")
    if weights == "raw" or "val_ema" not in files:
        return "raw", files["val"]
    return "ema", files["val_ema"]


def _files(key: str) -> tuple[str, ...]:
    """What a file may end in."""
    return (*SUFFIXES, MINDIR) if key == "distill.teacher" else SUFFIXES


def _averaged(files: dict[str, Path]) -> Path:
    return files.get("val_ema", files["val"]).resolve()


def _official(entry: Official, key: str, config: RunConfig) -> Path:
    path = Path(config.weights_dir).expanduser().resolve() / entry.file_name
    if not path.is_file():
        raise UserError(
            f"{key}={entry.name}: {path} is not there. Nothing is downloaded by this program: fetch {entry.url} "
            f"(about {entry.megabytes} MB) into that folder, or give weights_dir=FOLDER, or the file itself."
        )
    return path
