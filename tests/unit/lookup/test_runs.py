"""A run by what a user types."""

from __future__ import annotations

from pathlib import Path

import pytest
from new_runs import new_run

from deit.errors import UserError
from deit.lookup.runs import find_run


def test_find_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run=last: no training run"):
        find_run("last", "run", str(tmp_path / "runs"), None)
    run = new_run(tmp_path)
    assert find_run("last", "run", str(tmp_path / "runs"), None).path == run.path
    assert find_run(str(run.path), "run", "elsewhere", None).path == run.path
    for text, told in ((str(tmp_path / "nothing"), "no such directory"), (str(tmp_path), "config.yaml is missing")):
        with pytest.raises(UserError, match=told):
            find_run(text, "resume", str(tmp_path / "runs"), None)
