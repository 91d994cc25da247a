"""Where msrun is found, and a user without a home folder."""

from __future__ import annotations

import pwd
import sys
import sysconfig
from pathlib import Path

import pytest

from deit.config.addresses import cache_folder, expanded
from deit.errors import UserError
from deit.machine.python import msrun


def program(folder: Path) -> Path:
    folder.mkdir(parents=True)
    file = folder / "msrun"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_msrun_is_found_next_to_the_interpreter_or_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "usr" / "bin" / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda name, scheme=None: str(tmp_path / (scheme or "scripts")))
    monkeypatch.setenv("PATH", str(tmp_path / "on path"))
    with pytest.raises(UserError, match=r"msrun.*usr/bin.*posix_user nor on PATH.*hardware\.cards=1"):
        msrun()
    for folder in (tmp_path / "on path", tmp_path / "posix_user", tmp_path / "usr" / "bin"):  # each wins over the ones before
        assert str(program(folder)) == msrun()


def test_missing_home_folder_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: object) -> None:
        raise KeyError("getpwuid(): uid not found: 12345")

    for name in ("HOME", "XDG_CACHE_HOME", "DEIT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UserError, match=r"~/dd: the home folder is unknown.*set HOME"):
        expanded("~/dd")
    with pytest.raises(UserError, match=r"home folder is unknown.*\$DEIT_CACHE"):
        cache_folder()
    assert expanded("dd") == Path("dd") and cache_folder("/copies") == Path("/copies")
