"""Checked configurations, for tests that need one."""

from __future__ import annotations

import dataclasses

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import open_dict

from deit.commands.table import configured
from deit.compose import groups, overrides
from deit.compose.freeze import register
from deit.config.schema import RunConfig
from deit.machine.cards import resolve


def freeze(*typed: str) -> RunConfig:
    """The configuration that these overrides make, checked."""
    register()
    given = overrides.check(typed, sweeping=False)
    with initialize_config_dir(str(groups.CONF), version_base="1.3"):
        config = hydra_compose("config", overrides.readable(typed))
    with open_dict(config):
        config.pop("hydra", None)
    return configured(config, given)


def composed(*typed: str) -> RunConfig:
    """``freeze``, with the device resolved on this machine: a configuration as a worker gets it."""
    config = freeze(*typed)
    return dataclasses.replace(config, hardware=resolve(config.hardware))
