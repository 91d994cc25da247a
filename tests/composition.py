"""Compose a configuration as the command line does, for tests that need one."""

from __future__ import annotations

import dataclasses

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict

from deit.config import compose, options
from deit.config.schema import RunConfig
from deit.launching.hardware import resolve


def composed(*overrides: str) -> RunConfig:
    """The frozen configuration of ``python launch.py OVERRIDES``, on this machine."""
    compose.register()
    plain = ["hydra/launcher=basic", "hydra/sweeper=basic"]  # the project's own are plugins of the command line
    with hydra.initialize_config_dir(str(options.CONF), version_base="1.3"):
        config = hydra.compose("config", overrides=[*plain, *overrides])
    with open_dict(config):
        config.pop("hydra", None)
    frozen = compose.freeze(config, OverridesParser.create().parse_overrides(list(overrides)))
    return dataclasses.replace(frozen, hardware=resolve(frozen.hardware))
