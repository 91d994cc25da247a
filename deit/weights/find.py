"""Weight files by path or official name. Runs and MLflow ids are in ``deit.lookup.weight_files``."""

from __future__ import annotations

from pathlib import Path

from deit.config.addresses import expanded
from deit.config.schema import RunConfig
from deit.errors import UserError, nearest
from deit.installation import program
from deit.notes import note
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.weights.caches import cached
from deit.weights.choice import choose
from deit.weights.official import OFFICIAL, Official
from deit.weights.read import FORMATS, format_of, holds_ema

MINDIR = ".mindir"  # a network with its weights; only for teachers


def file_of(text: str, key: str, config: RunConfig) -> Path | None:
    """The absolute path of the weight file ``text``, the value of ``key``. In this order:

    1. a file (safetensors, torch.save, MindSpore's .ckpt, for a teacher also .mindir),
    2. a checkpoint folder: the better of its raw and EMA weights (``choice.choose``),
    3. an official name, whose file is in ``config.weights_dir`` or in a cache of torch or Hugging Face (``caches``).

    None if it is none of these. Raises UserError if such a file cannot be used. The file is not read.
    """
    path = expanded(text)
    if path.is_file():
        if path.suffix == MINDIR:
            if key == "distill.teacher":
                return path.resolve()
            raise UserError(
                f"{key}={text}: a MINDIR is a compiled network, which can only be a teacher; give weights ({FORMATS})."
            )
        try:
            format_of(path)
        except UserError as error:
            raise UserError(f"{key}={error}") from None
        return path.resolve()
    if (path / checkpoint.STATE).is_file():
        return choose(checkpoint.weights_of_folder(path), "auto", f"{key}={text}").file.resolve()
    if text in OFFICIAL and not path.exists():
        return _official(OFFICIAL[text], key, config)
    return None


def files_to_load(config: RunConfig, which: str) -> tuple[str, dict[str, Path]]:
    """The weights of run= or checkpoint=: the key, and the files by the prefix of their metrics; ``which`` checkpoint of a run.

    Raises UserError if there are none.
    """
    if config.run is not None:
        return "run", checkpoint.weights_of_run(RunDirectory(config.run), which)
    assert config.checkpoint is not None  # checked by a rule of the task
    return "checkpoint", files_of_checkpoint(config.checkpoint, config)


def files_of_checkpoint(text: str, config: RunConfig) -> dict[str, Path]:
    """The files of ``checkpoint=text``, by the prefix of their metrics: raw (``val``) and, if there is one, EMA (``val_ema``).
    A training file of torch may contain both kinds, and then is both; an official name has only raw weights.

    Raises UserError if there is none.
    """
    path = expanded(text)
    if (path / "config.yaml").is_file():
        raise UserError(f"checkpoint={text}: is a run directory, not one of its checkpoints; give run={text}.")
    if path.is_dir():
        return checkpoint.weights_of_folder(path.resolve())
    file = file_of(text, "checkpoint", config)
    if file is not None:
        return {"val": file} | ({"val_ema": file} if holds_ema(file) else {})
    raise UserError(
        f"checkpoint={text}: no such file or folder.{nearest(text, OFFICIAL)} Allowed: a file "
        f"({FORMATS}), a checkpoint folder, or an official name such as {next(iter(OFFICIAL))}."
    )


def _official(entry: Official, key: str, config: RunConfig) -> Path:
    path = expanded(config.weights_dir).resolve() / entry.file_name
    if path.is_file():
        return path
    found = cached(entry)
    if found is None:
        raise UserError(
            f"{key}={entry.name}: {path} does not exist, and the caches of timm, torch and Hugging Face do not have it. "
            f"Download it (about {entry.megabytes} MB): {program()} task=fetch_weights task.official={entry.name}. Without a "
            f"network, copy {entry.url} to that path, or give weights_dir=FOLDER or a file."
        )
    note(f"{key}={entry.name}: uses {found}.")
    return found.absolute()
