"""Create the run directory of a configuration and freeze the configuration into it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import yaml

from deit.config import frozen
from deit.config.schema import RunConfig
from deit.files import write_json
from deit.runs import directory
from deit.runs.directory import RunDirectory


def common(config: RunConfig) -> RunConfig:
    """The configuration that all machines share: the node rank is not stored in config.yaml."""
    if config.hardware.nodes == 1:
        return config
    return dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, node_rank=None, master_addr=None))


def create(
    config: RunConfig, overrides: list[str], circumstances: dict[str, Any] | None = None, unused: Collection[str] = ()
) -> RunDirectory:
    """Create the run directory and freeze the configuration into it.

    ``unused`` are the keys that the task does not use. ``circumstances`` go into ``environment.json``: for a trial its sweep
    (id, overrides, swept) and the command.
    """
    run = directory.create(config.runs_dir, config.name)
    frozen.save(common(config), run.config)
    run.overrides.write_text(yaml.safe_dump(overrides), encoding="utf-8")
    write_json(run.unused_keys, sorted(unused))
    if circumstances:
        write_json(run.environment, circumstances)
    return run
