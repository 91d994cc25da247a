"""The tasks by name, and the checked configuration of one."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, open_dict

from deit.commands.task import Task
from deit.compose import auto_keys, freeze, groups, overrides, unused_keys
from deit.compose.precedence import AUTO
from deit.config.schema import RunConfig
from deit.config.tasks import TASKS
from deit.errors import UserError
from deit.lookup.base_run import find_base
from deit.recipe.data_defaults import Facts
from deit.secrets import set_aside


def task_of(name: str) -> Task[Any]:
    """The control half of a task: ``TASK`` of ``deit.commands.<name>``."""
    if name not in TASKS:
        raise ValueError(f"{name}: no such task")
    return cast(Task[Any], importlib.import_module(f"deit.commands.{name}").TASK)


def register() -> None:
    """Register with Hydra what ``conf/`` refers to."""
    freeze.register()
    auto_keys.register(_facts)


def configured(composed: DictConfig, typed: Sequence[Override]) -> RunConfig:
    """The checked configuration of one run. ``composed`` has no ``hydra`` node; ``typed`` are its parsed overrides.

    Runs that it references are looked up after all checks that do not need them. Credentials in tracking.uri are removed and
    go into the environment (``deit/secrets.py``). Raises UserError with one line per problem, and OmegaConf's errors for an
    interpolation that cannot be resolved (see ``hydra_errors.translate``).
    """
    named = freeze.references(composed)
    task = task_of(composed.task.name) if composed.task.name in TASKS else None
    if task is not None and (refused := task.refuses(named)):
        raise UserError("\n".join(refused))
    base = find_base(named)
    if base is None:
        composed = auto_keys.filled(composed, _facts)
    elif open_keys := sorted(set(auto_keys.asked(composed)) & set(overrides.dotted(typed))):
        raise UserError(
            "\n".join(
                f"{key} is {AUTO}, but the run has its values already; give {key}=VALUE, or nothing." for key in open_keys
            )
        )
    config = freeze.freeze(composed, typed, base)
    found = task_of(config.task.name).problems(config)
    if found:
        raise UserError("\n".join(found))
    config.tracking.uri = set_aside(config.tracking.uri)
    return config


def composed_of(typed: Sequence[str]) -> tuple[RunConfig, list[Override]]:
    """The checked configuration of overrides that are not those of the command line, and the parsed overrides.

    Raises what ``configured`` does, and Hydra's errors.
    """
    given = overrides.check(typed, sweeping=False)
    with initialize_config_dir(str(groups.CONF), version_base="1.3"):
        composed = compose("config", overrides.readable(typed))
    with open_dict(composed):
        composed.pop("hydra", None)
    return configured(composed, given), given


def _facts(config: RunConfig) -> Facts:
    from deit.commands.training_facts import facts  # late: most commands have no automatic values

    return facts(config)


def unused(config: RunConfig, typed: Sequence[Override]) -> list[str]:
    """One line for each typed key that ``config`` ignores."""
    return unused_keys.problems(config, overrides.dotted(typed), task_of(config.task.name).unused)


def unused_keys_of(config: RunConfig) -> Collection[str]:
    """All keys that ``config`` ignores."""
    return unused_keys.unused(config, task_of(config.task.name).unused)


def prepare(config: RunConfig, *, here: bool = True) -> RunConfig:
    """``Task.prepare`` of the task of ``config``."""
    return task_of(config.task.name).prepare(config, here=here)


def start(config: RunConfig, typed: list[str]) -> int:
    """``Task.start`` of the task of ``config``."""
    return task_of(config.task.name).start(config, typed)
