"""Locks: exclusive, shared, and a file system without locks."""

from __future__ import annotations

import ast
import errno
import fcntl
import os
from pathlib import Path

import pytest

import deit
from deit.cli import main
from deit.errors import UserError
from deit.files import whole_folder
from deit.machine import locks


def test_locks_are_exclusive_or_shared(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as one, open(tmp_path / "lock") as two, open(tmp_path / "lock") as three:
        assert locks.take(one) and not locks.take(two)
        one.close()
        assert locks.take(two, shared=True) and locks.take(three, shared=True)
        with open(tmp_path / "lock") as four:
            assert not locks.take(four)


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_file_system_without_locks_is_reported(tmp_path: Path, no_locks: None) -> None:
    for call in (lambda: locks.check(tmp_path / "not" / "there"), lambda: locks.hold(os.open(tmp_path / "x", os.O_CREAT))):
        with pytest.raises(UserError, match=r"the file system \w+ at /.* cannot lock files \(Function not implemented\)"):
            call()
    with whole_folder(tmp_path / "out") as folder:  # its lock only tells whether a maker lives
        (folder / "file").write_text("whole")
    assert (tmp_path / "out" / "file").read_text() == "whole"


def test_run_on_a_file_system_without_locks_ends_with_one_message(
    tmp_path: Path, no_locks: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["experiment=quickstart", "hardware=cpu", "tracking=none"]) == 2
    said = capsys.readouterr().err
    assert "cannot lock files" in said and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_only_one_module_takes_locks() -> None:
    package = Path(deit.__file__ or deit.__path__[0])
    package = package.parent if package.is_file() else package
    using = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Import) and any(name.name == "fcntl" for name in node.names)
    }
    assert using == {"machine/locks.py", "files.py"}  # files.py goes with a served model, which has no machine
