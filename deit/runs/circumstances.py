"""``environment.json``: where each launch of a run worked, the newest last among its ``resumes``."""

from __future__ import annotations

from typing import Any

from deit.files import read_json, write_json
from deit.runs.directory import RunDirectory


def note_launch(run: RunDirectory, described: dict[str, Any], overrides: list[str]) -> None:
    """Add where the run is at work now. ``overrides`` are noted where it is resumed."""
    first = read_json(run.environment) or {}
    if "host" in first:  # of an earlier start
        described = first | {"resumes": [*first.get("resumes", []), described | {"overrides": overrides}]}
    else:
        described |= first
    write_json(run.environment, described)


def last_launch(run: RunDirectory) -> dict[str, Any]:
    """What is known of the newest launch: that of the newest resume, if there was one."""
    return _newest(read_json(run.environment) or {})


def note_device(run: RunDirectory, device: dict[str, Any]) -> None:
    """Add what only a worker knows of the newest launch: the device as MindSpore names it."""
    described = read_json(run.environment) or {}
    newest = _newest(described)
    if newest.get("device") != device:
        newest["device"] = device
        write_json(run.environment, described)


def _newest(described: dict[str, Any]) -> dict[str, Any]:
    resumes: list[dict[str, Any]] = described.get("resumes") or [described]
    return resumes[-1]
