"""Fixtures of the tests of composition."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deit.compose import groups


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of conf/, to write files into."""
    copy = tmp_path / "conf"
    shutil.copytree(groups.CONF, copy)
    monkeypatch.setattr(groups, "CONF", copy)
    groups.groups.cache_clear()
    yield copy
    groups.groups.cache_clear()
