"""Hints name the command that the user typed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from command import ROOT

from deit import installation


@pytest.fixture(autouse=True)
def not_called_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_called", [])


@pytest.mark.parametrize(
    ("argument", "program"),
    [
        ("launch.py", "python launch.py"),
        ("../code of mine/launch.py", "python '../code of mine/launch.py'"),
        ("/somewhere/site-packages/deit/__main__.py", "python -m deit"),
        ("/not/on/path/bin/deit", "/not/on/path/bin/deit"),
    ],
)
def test_hint_starts_like_the_typed_command(argument: str, program: str) -> None:
    installation.note_call(argument)
    assert installation.program() == program


def test_a_command_on_the_path_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "deit"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    installation.note_call(str(script))
    assert installation.program() == "deit"
    installation.note_call("/not/on/path/bin/deit")  # another one, which may have been deleted meanwhile
    assert installation.program() == "/not/on/path/bin/deit"


def test_other_processes_name_the_installed_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installation.program() == "python launch.py"
    monkeypatch.setattr(installation, "IS_WHEEL", True)
    assert installation.program() == "deit"


def test_hint_for_an_extra_fits_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_checkout = shlex.split(installation.install_command("export"))
    assert of_checkout[2:] == ["--constraint", f"{ROOT}/constraints.txt", "--editable", f"{ROOT}[export]"]
    monkeypatch.setattr(installation, "ROOT", tmp_path)  # beside a model that MLflow serves
    assert installation.install_command("export") == "pip install 'deit-mindspore[export]'"
    (tmp_path / "constraints.txt").touch()
    expected = shlex.join(["pip", "install", "--constraint", f"{tmp_path}/constraints.txt", "deit-mindspore"])
    assert installation.install_command() == expected
