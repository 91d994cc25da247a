"""What MLflow receives about a run besides its metrics: parameters, tags and a name.

Parameters are the frozen configuration under flat dotted names, one column each in MLflow's table. Tags are its
circumstances: everything in ``environment.json``, under flat dotted names too (``git.commit``, ``host``, ``sweep.id``), and
the run directory.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import psutil

from deit.config import frozen, safe_yaml
from deit.config.schema import RunConfig
from deit.config.tasks import TaskConfig
from deit.files import read_json
from deit.installation import source_name, words_in
from deit.runs import status
from deit.runs.circumstances import last_launch
from deit.runs.directory import RunDirectory
from deit.runs.outcome import Outcome
from deit.scores import LABELS, columns, shown
from deit.secrets import redact
from deit.text import label
from deit.tracking.uri import RUN_NAME

DIRECTORY_TAG = "run.directory"
RUN_TAG = "run.id"
OUTCOME_TAG = "outcome"

# Keys that say how the program was called or where it writes, not what the run computes.
_BOOKKEEPING = ("resume", "dry_run", "runs_dir", "weights_dir", "tracking", "sweep")
# MLflow truncates longer values silently.
_PARAM_LENGTH, _TAG_LENGTH = 6000, 8000
_CUT = " ... (cut)"


def params(run: RunDirectory, config: RunConfig) -> dict[str, str]:
    """The configuration as MLflow parameters: ``{"optim.base_lr": "0.0005", "data.mean": "[0.485, ...]"}``.

    Only keys that the task uses and that are not null. Values are written as on the command line, lists as JSON.
    """
    unused = read_json(run.unused_keys) or ()
    values = {key: value for key, value in frozen.to_dict(config).items() if key not in _BOOKKEEPING}
    found = {key: value for key, value in frozen.leaves(values) if key not in unused and value is not None}
    return {_name(key): _text(value, _PARAM_LENGTH) for key, value in found.items()}


def tags(run: RunDirectory, config: RunConfig) -> dict[str, str]:
    """The circumstances of a run as MLflow tags."""
    environment = read_json(run.environment) or {}
    overrides = safe_yaml.load(run.overrides) if run.overrides.exists() else None
    values: dict[str, Any] = {
        **dict(frozen.leaves({name: value for name, value in environment.items() if name != "program"})),
        "recipe": config.name,
        "task": config.task.name,
        "overrides": " ".join(overrides or ()),
        RUN_TAG: run.id,
        DIRECTORY_TAG: str(run.path),
        # MLflow's own columns
        "mlflow.user": psutil.Process().username(),
        "mlflow.source.name": source_name(words_in(environment)),
        "mlflow.source.type": "LOCAL",
    }
    if "git.commit" in values:
        values["mlflow.source.git.commit"] = values["git.commit"]
    return {_name(key): _text(value, _TAG_LENGTH) for key, value in values.items() if value not in (None, "")}


def outcome(ended: Outcome) -> str:
    """How a run ended, for the tag ``outcome``."""
    return _text(ended.text, _TAG_LENGTH)


def short_name(run: RunDirectory, name: str) -> str:
    """``name`` and the end of the run directory's name: short enough for MLflow's table."""
    return f"{name}-{run.id[-6:]}"


def note(run: RunDirectory, config: RunConfig) -> str:
    """The description of the run on its page in MLflow, in Markdown: recipe, results, data and command."""
    now, data = status.read(run), read_json(run.data) or {}
    rows = _rows(now.results or now.progress)
    title = f"**{config.task.name}**: {config.model.name} on {config.data.name}, recipe `{config.name}`"
    if rows:
        which, entry = max(rows, key=lambda row: float(row[1]["top1"]))
        title += f": **{entry['top1']:.3f} % top-1** ({which})"
    lines = [title]
    for split in ("train", "val"):
        if counted := data.get(split):
            of = f"{counted['images']:,} images in {len(counted['classes'])} classes"
            lines.append(f"{split}: {of}, digest `{counted['digest']}`")
    if config.run is not None or config.checkpoint is not None:
        lines.append(f"weights: `{config.run or config.checkpoint}`")
    if config.distill.type != "none" and config.task.is_training:
        lines.append(f"distilled ({config.distill.type}) from `{config.distill.teacher}`")
    if how := _computed(run):
        lines.append(how)
    if rows:
        figures = columns(config.data.num_classes)
        table = [f"| weights | {' | '.join(figures)} | epoch |", "|---" * (len(figures) + 2) + "|"]
        for which, entry in rows:
            table.append(
                f"| {which} | {' | '.join(shown(entry, name) for name in figures.values())} | {entry.get('epoch', '')} |"
            )
        lines.append("\n".join(table))
    typed = safe_yaml.load(run.overrides) if run.overrides.exists() else None
    command = shlex.join([*words_in(read_json(run.environment) or {}), *(typed or ())])
    lines.append(f"```\n{command}\n```")
    lines.append(f"{outcome(now.outcome) if now.outcome else 'running'}; the run directory is `{run.path}`")
    return redact("\n\n".join(lines))


def _computed(run: RunDirectory) -> str:
    """How the device was set to compute, as far as the worker has noted it: ``Ascend 910B, jit_level O1, deterministic``."""
    device = last_launch(run).get("device") or {}
    name = " ".join(filter(None, (device.get("target"), device.get("generation"))))
    parts = [f"{key} `{device[key]}`" for key in ("overflow_mode", "jit_level") if device.get(key)]
    if "deterministic" in device:
        parts.append("deterministic" if device["deterministic"] else "not deterministic")
    return f"computed on {name}: {', '.join(parts)}" if parts else ""


def _rows(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each accuracy of a training or an evaluation with a label: ``raw, best``."""
    kinds = {"best": found.get("best") or {}, "last": found.get("last") or {}, "": found}
    rows: list[tuple[str, dict[str, Any]]] = []
    for kind, entries in kinds.items():
        for prefix, entry in entries.items():
            if isinstance(entry, dict) and prefix in LABELS and entry not in [row for _, row in rows]:
                rows.append((", ".join(filter(None, (LABELS[prefix], kind))), entry))
    return rows


def datasets(run: RunDirectory, config: RunConfig) -> list[tuple[str, dict[str, Any]]]:
    """The content of ``data.json`` for each split, with MLflow's names: ``training`` and ``validation``."""
    data = read_json(run.data) or {}
    words = {"train": "training", "val": "validation" if config.task.is_training else "evaluation"}
    about = {"name": str(data.get("name")), "source": str(data.get("source"))}
    return [(word, about | data[split]) for split, word in words.items() if split in data]


def run_name(run: RunDirectory, name: str, task: TaskConfig) -> str:
    """Its name in MLflow: in a sweep the values that distinguish it, ``base_lr=1e-3 seed=2 1a2b3c``, else ``short_name``,
    after the name of a task other than training."""
    swept = (read_json(run.environment) or {}).get("sweep", {}).get("swept")
    if not swept:
        plain = task.is_training or task.name == name
        return short_name(run, name) if plain else f"{task.name} {short_name(run, name)}"
    return _text(f"{label(swept)} {run.id[-6:]}", RUN_NAME)


def _name(key: str) -> str:
    return re.sub(r"[^\w.\- :/]", "_", key)


def _text(value: Any, length: int) -> str:
    text = redact(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= length else text[: length - len(_CUT)] + _CUT
