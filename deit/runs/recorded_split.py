"""The split of a run, ``split.jsonl``: every later task of the run and its resumption read the images that it lists."""

from __future__ import annotations

import dataclasses

from deit.config.schema import RunConfig
from deit.runs.directory import RunDirectory


def recorded(run: RunDirectory) -> str | None:
    """The value of data.split_file for the images of ``run``; None if it has no split of its own."""
    return str(run.split) if run.split.is_file() else None


def with_recorded(config: RunConfig, run: RunDirectory) -> RunConfig:
    """The configuration of ``run`` with its own split, if it has one."""
    split = recorded(run)
    return config if split is None else _with(config, split)


def without_recorded(config: RunConfig, run: RunDirectory) -> RunConfig:
    """As ``config.yaml`` stores it: a run finds its own split again wherever its directory is."""
    return _with(config, None) if config.data.split_file == str(run.split) else config


def _with(config: RunConfig, split: str | None) -> RunConfig:
    return dataclasses.replace(config, data=dataclasses.replace(config.data, split_file=split))
