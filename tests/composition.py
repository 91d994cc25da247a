"""A configuration as a worker gets it, for tests that need one."""

from __future__ import annotations

import dataclasses

from conftest import freeze

from deit.config.schema import RunConfig
from deit.launching.hardware import resolve


def composed(*overrides: str) -> RunConfig:
    """The frozen configuration of ``python launch.py OVERRIDES`` on this machine, its device resolved."""
    config = freeze(*overrides)
    return dataclasses.replace(config, hardware=resolve(config.hardware))
