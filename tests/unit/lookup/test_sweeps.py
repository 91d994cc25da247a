"""A sweep by its directory, or the newest one."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweeps_on_disk import make_sweep

from deit.errors import UserError
from deit.lookup.sweeps import find


def test_sweep_is_found_by_path_or_as_the_last(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sweep\.dir=last: no sweep found in .*/sweeps/"):
        find("last", "sweep.dir", str(tmp_path / "runs"))
    with pytest.raises(UserError, match=r"sweep\.json is missing"):
        find(str(tmp_path), "sweep.dir", "runs")
    first = make_sweep(tmp_path, [])
    assert find(str(first.path), "sweep.dir", "elsewhere").path == first.path
    assert find("last", "sweep.dir", str(tmp_path / "runs")).path == first.path
