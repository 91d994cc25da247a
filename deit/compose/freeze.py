"""From Hydra's composition to one frozen RunConfig: complete, resolved, typed, each value within its limits."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.resolvers.oc import env

from deit.compose import config_files, groups, hydra_loader, keys, lazy_store, limits, overrides
from deit.compose.inherit import inherit
from deit.config.addresses import expanded
from deit.config.frozen import from_dict
from deit.config.schema import SPLIT_KEYS, VARIANTS, RunConfig
from deit.config.tasks import TASKS, TaskConfig
from deit.errors import UserError
from deit.lookup.base_run import Base, References
from deit.tracking.uri import EXPERIMENT_ID


def register() -> None:
    """Register the dataclasses with Hydra, under the names that conf/ lists (schema, schema/GROUP/OPTION), and our plugins."""
    if str(groups.PLUGINS) not in sys.path:
        sys.path.insert(0, str(groups.PLUGINS))
    hydra_loader.install()
    config_files.install()
    lazy_store.install()
    OmegaConf.register_new_resolver("oc.env", _environment, replace=True)
    OmegaConf.register_new_resolver("mlflow_experiment", _experiment, replace=True)
    lazy_store.store("schema", RunConfig)
    for group, kind in keys.node_types().items():
        for option, variant in VARIANTS.get(kind, {}).items():
            lazy_store.store(option, variant, group=f"schema/{group}")


def _environment(key: str, *default: object) -> str | None:
    """OmegaConf's ``${oc.env:NAME,default}``, for which a variable that is set to nothing has the default, as in MLflow."""
    if default and not os.environ.get(key):
        return None if default[0] is None else str(default[0])
    return env(key, *default)


def _experiment(default: str) -> str:
    """``tracking.experiment`` as the variables of MLflow name it: by its name, or as ``id:5``."""
    number = os.environ.get("MLFLOW_EXPERIMENT_ID")
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or (f"{EXPERIMENT_ID}{number}" if number else default)


def references(composed: DictConfig) -> References:
    """The references to earlier runs in ``composed``."""
    _expand_home(composed)
    return References.of(composed, composed.task)


def freeze(composed: DictConfig, typed: Sequence[Override], base: Base | None) -> RunConfig:
    """The configuration of one run: complete, resolved, typed, each value within its limits.

    A pure function. ``composed`` has no ``hydra`` node, ``typed`` are its parsed overrides, ``base`` is the run that they
    reference, if any. Contradictions between values are checked by ``Task.problems``. Raises UserError with one line per
    problem, and OmegaConf's errors for an interpolation that cannot be resolved (see ``hydra_errors.translate``).
    """
    _expand_home(composed)
    if base is None:
        config = _resolved(composed)
    else:
        config = inherit(base.config, composed, typed)
        for key, value in base.keys.items():
            setattr(config, key, value)
        for key, value in base.task_keys.items():
            setattr(config.task, key, value)
        if base.split is not None and (composed.resume is not None or not _splits(typed)):
            config.data.split_file = base.split
    found = limits.problems(config)
    if found:
        raise UserError("\n".join(found))
    return config


def _splits(typed: Sequence[Override]) -> bool:
    """Whether a typed key says how the images are split."""
    return not {f"data.{key}" for key in SPLIT_KEYS}.isdisjoint(overrides.dotted(typed))


def _expand_home(node: DictConfig | ListConfig) -> None:
    """Expand a leading ``~/``: no shell does it in a YAML file, and not every shell after ``=``."""
    plain: Any = OmegaConf.to_container(node, resolve=False)  # visiting nodes one by one takes ten times as long
    for key, value in enumerate(plain) if isinstance(plain, list) else plain.items():
        if isinstance(value, (dict, list)) and "~/" in str(value):
            _expand_home(node[key])
        elif isinstance(value, str) and value.startswith("~/"):
            node[key] = str(expanded(value))


def _resolved(composed: DictConfig) -> RunConfig:
    # Keys that the task does not use may stay open, such as the teacher when a training is only previewed.
    kind = TASKS.get(composed.task.name, TaskConfig)
    missing = sorted(OmegaConf.missing_keys(composed))
    for key in missing:
        if key.partition(".")[0] in kind.idle_groups:
            OmegaConf.update(composed, key, None)
    missing = [key for key in missing if key.partition(".")[0] not in kind.idle_groups]
    if missing:
        raise UserError("\n".join(keys.not_given(key, composed.task.name) for key in missing))
    for group, kind in keys.node_types().items():
        named, is_type = composed[group].name if kind in VARIANTS else None, OmegaConf.get_type(composed[group])
        if named in VARIANTS.get(kind, {}) and VARIANTS[kind][named] is not is_type:
            raise UserError(f"{group}.name is {named!r}, but the keys of another option were composed; choose {group}={named}.")
    values = OmegaConf.to_container(composed, resolve=True)
    return from_dict(values)  # type: ignore[arg-type]
