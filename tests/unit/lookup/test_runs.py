"""A run by what a user types."""

from __future__ import annotations

from pathlib import Path

import pytest
from composition import composed

from deit.config import frozen
from deit.errors import UserError
from deit.lookup.runs import find_run
from deit.runs import directory
from deit.runs.directory import RunDirectory


def new_run(tmp_path: Path, *overrides: str) -> RunDirectory:
    config = composed("experiment=quickstart", *overrides)
    run = directory.create(tmp_path / "runs", config.name)
    frozen.save(config, run.config)
    return run


def test_find_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run=last: no training run"):
        find_run("last", "run", str(tmp_path / "runs"), None)
    run = new_run(tmp_path)
    assert find_run("last", "run", str(tmp_path / "runs"), None).path == run.path
    assert find_run(str(run.path), "run", "elsewhere", None).path == run.path
    for text, told in ((str(tmp_path / "nothing"), "no such directory"), (str(tmp_path), "config.yaml is missing")):
        with pytest.raises(UserError, match=told):
            find_run(text, "resume", str(tmp_path / "runs"), None)
