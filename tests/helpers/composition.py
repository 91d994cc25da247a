"""Checked configurations, for tests that need one."""

from __future__ import annotations

import copy
import dataclasses
import os

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import open_dict

from deit.commands.table import configured
from deit.compose import auto_keys, groups, overrides
from deit.compose.freeze import register
from deit.config.schema import RunConfig
from deit.machine.cards import resolve

CONF = groups.CONF
LOOKED_UP = ("run=", "resume=", "task.model=", "task.models=", "tracking.uri=")  # their values depend on more than the text
OF_A_TEST = ("PYTEST_CURRENT_TEST", "DEIT_CACHE")  # variables that no composition reads
_known: dict[object, RunConfig] = {}


def freeze(*typed: str) -> RunConfig:
    """The configuration that these overrides make, checked. The caller may change it.

    What was composed before in this process, in the same environment, is copied.
    """
    register()
    environment = {name: value for name, value in os.environ.items() if name not in OF_A_TEST}
    key = (typed, frozenset(environment.items()))
    if key in _known and groups.CONF == CONF and groups.own_folder() is None:
        auto_keys._chosen.clear()  # as composing it again would: what is kept has no chosen values
        return copy.deepcopy(_known[key])
    given = overrides.check(typed, sweeping=False)
    with initialize_config_dir(str(groups.CONF), version_base="1.3"):
        config = hydra_compose("config", overrides.readable(typed))
    with open_dict(config):
        config.pop("hydra", None)
    found = configured(config, given)
    if groups.CONF == CONF and groups.own_folder() is None and not auto_keys.chosen() and not any(map(_looked_up, typed)):
        _known[key] = copy.deepcopy(found)
    return found


def _looked_up(text: str) -> bool:
    return text.startswith(LOOKED_UP)


def composed(*typed: str) -> RunConfig:
    """``freeze``, with the device resolved on this machine: a configuration as a worker gets it."""
    config = freeze(*typed)
    return dataclasses.replace(config, hardware=resolve(config.hardware))
