"""What MLflow is told about a run besides its metrics: parameters, tags and a name.

Parameters are the frozen configuration under flat dotted names, one column each in MLflow's table. Tags are the
circumstances: everything ``environment.json`` holds, under flat dotted names too (``git.commit``, ``host``,
``sweep.id``), and where the run lies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import psutil

from deit.compose.unused_keys import IDLE_GROUPS
from deit.config import frozen, safe_yaml
from deit.config.schema import RunConfig
from deit.files import read_json
from deit.runs import status
from deit.runs.directory import RunDirectory
from deit.secrets import redact
from deit.text import label
from deit.tracking.uri import RUN_NAME

DIRECTORY_TAG = "run.directory"
RUN_TAG = "run.id"
OUTCOME_TAG = "outcome"

# Keys that say how the program was called, not what the run is.
_BOOKKEEPING = ("run", "resume", "dry_run")
# MLflow cuts longer values without a word.
_PARAM_LENGTH, _TAG_LENGTH = 6000, 8000
_CUT = " ... (cut)"


def params(config: RunConfig) -> dict[str, str]:
    """The configuration as MLflow parameters: ``{"optim.base_lr": "0.0005", "data.mean": "[0.485, ...]"}``.

    Values are written as on the command line, lists as JSON.
    """
    # A comparison's models have recipes of their own, and its configuration holds that of one of them.
    idle = IDLE_GROUPS["compare"] if config.task.name == "compare" else ()
    values = {key: value for key, value in frozen.to_dict(config).items() if key not in (*_BOOKKEEPING, *idle)}
    return {_name(key): _text(value, _PARAM_LENGTH) for key, value in _leaves(values)}


def tags(run: RunDirectory, config: RunConfig) -> dict[str, str]:
    """The circumstances of a run as MLflow tags."""
    environment = read_json(run.environment) or {}
    overrides = safe_yaml.load(run.overrides) if run.overrides.exists() else None
    values: dict[str, Any] = {
        **dict(_leaves(environment)),
        "recipe": config.name,
        "task": config.task.name,
        "overrides": " ".join(overrides or ()),
        RUN_TAG: run.id,
        DIRECTORY_TAG: str(run.path),
        # MLflow's own columns
        "mlflow.user": psutil.Process().username(),
        "mlflow.source.name": "launch.py",
        "mlflow.source.type": "LOCAL",
    }
    if "git.commit" in values:
        values["mlflow.source.git.commit"] = values["git.commit"]
    return {_name(key): _text(value, _TAG_LENGTH) for key, value in values.items() if value not in (None, "")}


def outcome(now: status.Status) -> str:
    """How a run ended, for the tag ``outcome``: what its status says of it, or the bare state where that is all there is."""
    return _text(now.message or (now.state if now.ended else status.GONE), _TAG_LENGTH)


def last_launch(run: RunDirectory) -> dict[str, Any]:
    """What ``environment.json`` says of the newest launch: that of the newest resume, if there was one."""
    first = read_json(run.environment) or {}
    return dict((first.get("resumes") or [first])[-1])


def short_name(run: RunDirectory, name: str) -> str:
    """``name`` and the end of the run directory's name: short enough for MLflow's table."""
    return f"{name}-{run.id[-6:]}"


def run_name(run: RunDirectory, name: str) -> str:
    """Its name in MLflow: in a sweep the values that tell it apart, ``base_lr=1e-3 seed=2 1a2b3c``, else ``short_name``."""
    swept = (read_json(run.environment) or {}).get("sweep", {}).get("swept")
    if not swept:
        return short_name(run, name)
    return _text(f"{label(swept)} {run.id[-6:]}", RUN_NAME)


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _name(key: str) -> str:
    return re.sub(r"[^\w.\- :/]", "_", key)


def _text(value: Any, length: int) -> str:
    text = redact(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= length else text[: length - len(_CUT)] + _CUT
