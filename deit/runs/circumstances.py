"""``environment.json``: where each launch of a run was running, the newest last among its ``resumes``."""

from __future__ import annotations

from typing import Any

from deit.files import read_json, write_json
from deit.runs.directory import RunDirectory


def note_launch(run: RunDirectory, described: dict[str, Any], overrides: list[str]) -> None:
    """Add where the run is running now. ``overrides`` are recorded if it is resumed."""
    first = read_json(run.environment) or {}
    if "host" in first:  # from an earlier start
        described = first | {"resumes": [*first.get("resumes", []), described | {"overrides": overrides}]}
    else:
        described |= first
    write_json(run.environment, described)


def last_launch(run: RunDirectory) -> dict[str, Any]:
    """The record of the newest launch: that of the newest resume, if there was one."""
    return _newest(read_json(run.environment) or {})


def note_device(run: RunDirectory, device: dict[str, Any]) -> None:
    """Add the device, as MindSpore names it, to the newest launch; only a worker knows it."""
    described = read_json(run.environment) or {}
    newest = _newest(described)
    if newest.get("device") != device:
        newest["device"] = device
        write_json(run.environment, described)


def _newest(described: dict[str, Any]) -> dict[str, Any]:
    resumes: list[dict[str, Any]] = described.get("resumes") or [described]
    return resumes[-1]
