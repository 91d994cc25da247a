"""From what a user types to the file of weights it stands for."""

from __future__ import annotations

import re
from pathlib import Path

from deit.config.schema import RunConfig
from deit.errors import UserError, nearest
from deit.lookup.runs import find_run
from deit.runs import checkpoint
from deit.weights.choice import choose
from deit.weights.official import OFFICIAL, Official
from deit.weights.read import FORMATS, format_of, holds_ema

MINDIR = ".mindir"  # a network with its weights; it can only teach


def find_weights(text: str, key: str, config: RunConfig) -> Path:
    """The file that ``text``, the value of ``key``, stands for, as an absolute path. In this order:

    1. a file (safetensors, torch.save, MindSpore's .ckpt, a teacher also .mindir),
    2. a checkpoint folder: the better of its raw and EMA weights (``choice.choose``),
    3. an official name, whose file stands in ``config.weights_dir``,
    4. a run directory, ``last`` (the newest training), an MLflow run id: the better of its best raw and its best EMA weights.

    Raises UserError where there is none. The file's content is not looked at.
    """
    path = Path(text).expanduser()
    if path.is_file():
        if path.suffix == MINDIR:
            if key == "distill.teacher":
                return path.resolve()
            raise UserError(f"{key}={text}: a MINDIR holds a compiled network, which can only teach; give weights ({FORMATS}).")
        try:
            format_of(path)
        except UserError as error:
            raise UserError(f"{key}={error}") from None
        return path.resolve()
    if (path / checkpoint.STATE).is_file():
        return choose(checkpoint.weights_of_folder(path), "auto", f"{key}={text}").file.resolve()
    if text in OFFICIAL and not path.exists():
        return _official(OFFICIAL[text], key, config)
    if path.is_dir() or text == "last" or re.fullmatch(r"[0-9a-f]{32}", text):
        uri = config.tracking.uri if config.tracking.backend == "mlflow" else None
        run = find_run(text, key, config.runs_dir, uri)
        return choose(checkpoint.weights_of_run(run, "best"), "auto", f"{key}={text}").file.resolve()
    formats = f"{FORMATS}{', .mindir' if key == 'distill.teacher' else ''}"
    raise UserError(
        f"{key}={text}: there is no such file or folder.{nearest(text, OFFICIAL)} Allowed: a file ({formats}), a checkpoint "
        f"folder, a run directory, `last`, an MLflow run id, or an official name such as {next(iter(OFFICIAL))}."
    )


def files_of_checkpoint(text: str, config: RunConfig) -> dict[str, Path]:
    """The files that ``checkpoint=text`` stands for, by the prefix of their metrics: raw (``val``) and, where there is one,
    EMA (``val_ema``). A training file of torch may hold both kinds, and then is both; an official name is raw weights alone.

    Raises UserError where there is none.
    """
    path = Path(text).expanduser()
    if (path / "config.yaml").is_file():
        raise UserError(f"checkpoint={text}: is a run directory, not one of its checkpoints; give run={text}.")
    if path.is_dir():
        return checkpoint.weights_of_folder(path.resolve())
    if path.exists() or text in OFFICIAL:
        file = find_weights(text, "checkpoint", config)
        return {"val": file} | ({"val_ema": file} if holds_ema(file) else {})
    raise UserError(
        f"checkpoint={text}: there is no such file or folder.{nearest(text, OFFICIAL)} Allowed: a file "
        f"({FORMATS}), a checkpoint folder, or an official name such as {next(iter(OFFICIAL))}."
    )


def _official(entry: Official, key: str, config: RunConfig) -> Path:
    path = Path(config.weights_dir).expanduser().resolve() / entry.file_name
    if not path.is_file():
        raise UserError(
            f"{key}={entry.name}: {path} is not there. Nothing is downloaded by this program: fetch {entry.url} "
            f"(about {entry.megabytes} MB) into that folder, or give weights_dir=FOLDER, or the file itself."
        )
    return path
