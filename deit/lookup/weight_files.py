"""From what a user types (a file, an official name or a run) to a weight file."""

from __future__ import annotations

from pathlib import Path

from deit.config.addresses import expanded
from deit.config.schema import RunConfig
from deit.errors import UserError, nearest
from deit.lookup.runs import RUN_ID, find_run
from deit.runs import checkpoint
from deit.weights.choice import choose
from deit.weights.find import file_of
from deit.weights.official import OFFICIAL
from deit.weights.read import FORMATS


def find_weights(text: str, key: str, config: RunConfig) -> Path:
    """The absolute path of the weight file ``text``, the value of ``key``: what ``weights.find.file_of`` accepts; or a run
    directory, ``last`` (the newest training), an MLflow run id: the better of its best raw and its best EMA weights.

    Raises UserError if there is none. The file is not read.
    """
    file = file_of(text, key, config)
    if file is not None:
        return file
    if expanded(text).is_dir() or text == "last" or RUN_ID.fullmatch(text):
        uri = config.tracking.uri if config.tracking.backend == "mlflow" else None
        run = find_run(text, key, config.runs_dir, uri)
        return choose(checkpoint.weights_of_run(run, "best"), "auto", f"{key}={text}").file.resolve()
    formats = f"{FORMATS}{', .mindir' if key == 'distill.teacher' else ''}"
    raise UserError(
        f"{key}={text}: no such file or folder.{nearest(text, OFFICIAL)} Allowed: a file ({formats}), a checkpoint "
        f"folder, a run directory, `last`, an MLflow run id, or an official name such as {next(iter(OFFICIAL))}."
    )
