"""The run directory: its name, and errors when it is created."""

from __future__ import annotations

from pathlib import Path

import pytest

from deit.errors import UserError
from deit.runs import directory


def test_directories_of_the_same_second_differ_and_sort_as_they_were_made(tmp_path: Path) -> None:
    made = [directory.create(tmp_path, "x").id for _ in range(50)]
    assert len(set(made)) == 50 and made == sorted(made)


def test_error_names_runs_dir_if_it_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "unmounted").symlink_to(tmp_path / "nothing")
    for place in ("file", "file/below", "unmounted"):
        with pytest.raises(UserError, match=f"runs_dir={tmp_path / place}: no folder can be created there .*give another"):
            directory.create(tmp_path / place, "x")


def test_root_level_path_is_shown_completely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert directory.shown(tmp_path / "runs" / "x") == "runs/x"
    monkeypatch.chdir("/")
    assert directory.shown(tmp_path) == str(tmp_path)
