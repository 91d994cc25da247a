"""From what Hydra composed to one frozen RunConfig: complete, resolved, typed, and free of contradictions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf

from deit.compose import config_files, groups, hydra_guard, keys, limits, overrides, rules, unused_keys
from deit.compose.inherit import find_base, inherit
from deit.config.frozen import from_dict
from deit.config.schema import VARIANTS, RunConfig
from deit.errors import UserError


def register() -> None:
    """Make the dataclasses known to Hydra, under the names that conf/ lists (schema, schema/GROUP/OPTION), and our plugins."""
    if str(groups.PLUGINS) not in sys.path:
        sys.path.insert(0, str(groups.PLUGINS))
    hydra_guard.install()
    config_files.install()
    store = ConfigStore.instance()
    store.store(name="schema", node=RunConfig)
    for group, kind in keys.node_types().items():
        for option, variant in VARIANTS.get(kind, {}).items():
            store.store(group=f"schema/{group}", name=option, node=variant)


def freeze(composed: DictConfig, typed: Sequence[Override]) -> RunConfig:
    """The checked configuration of one run. ``composed`` has no ``hydra`` node; ``typed`` are its parsed overrides.

    Credentials in tracking.uri are no part of it: they go into the environment (see ``deit/secrets.py``).

    Raises UserError, with one line for each problem found, and OmegaConf's errors where an interpolation leads nowhere
    (see ``hydra_errors.translate``).
    """
    _expand_home(composed)
    base = find_base(composed)
    if base is not None:
        config = inherit(base.config, composed, typed)
        base.name_in(config)
    else:
        config = _resolved(composed)
    # The rules count on values within their limits.
    found = limits.problems(config) or rules.problems(config)
    if found:
        raise UserError("\n".join(found))
    from deit.secrets import set_aside

    config.tracking.uri = set_aside(config.tracking.uri)
    return config


def idle(config: RunConfig, typed: Sequence[Override]) -> list[str]:
    """One line for each key that was typed although ``config`` ignores it."""
    return unused_keys.problems(config, overrides.dotted(typed))


def _expand_home(node: DictConfig | ListConfig) -> None:
    """Put the home folder in place of a leading ``~/``: no shell does it in a YAML file, nor every shell behind a ``=``."""
    for key in range(len(node)) if isinstance(node, ListConfig) else list(node):
        if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key):
            continue
        value = node[key]
        if isinstance(value, DictConfig | ListConfig):
            _expand_home(value)
        elif isinstance(value, str) and value.startswith("~/"):
            node[key] = str(Path(value).expanduser())


def _resolved(composed: DictConfig) -> RunConfig:
    # What the task does not look at may stay open, such as the teacher of a training that is only previewed.
    idle_groups = unused_keys.IDLE_GROUPS.get(composed.task.name, ())
    for key in OmegaConf.missing_keys(composed):
        if key.partition(".")[0] in idle_groups:
            OmegaConf.update(composed, key, None)
    missing = sorted(OmegaConf.missing_keys(composed))
    if missing:
        raise UserError("\n".join(keys.not_given(key, composed.task.name) for key in missing))
    for group, kind in keys.node_types().items():
        named, is_type = composed[group].name if kind in VARIANTS else None, OmegaConf.get_type(composed[group])
        if named in VARIANTS.get(kind, {}) and VARIANTS[kind][named] is not is_type:
            raise UserError(f"{group}.name is {named!r}, but the keys of another option were composed; choose {group}={named}.")
    values = OmegaConf.to_container(composed, resolve=True)
    return from_dict(values)  # type: ignore[arg-type]
