"""A wheel of this repository, installed into a fresh environment without the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import pytest
from command import ROOT, Outcome, with_last
from launching import SMALL
from packaging.version import Version

CONFIGURATION = ("conf", "multirun_templates")


def pip(*arguments: str) -> None:
    ended = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because a build leaves files next to its sources."""
    top = tmp_path_factory.mktemp("wheel")
    source = top / "source"
    for folder in ("deit", *CONFIGURATION):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("constraints.txt", "LICENSE", "MANIFEST.in", "pyproject.toml", "README.md", "setup.py"):
        shutil.copy(ROOT / file, source)
    (source / "conf" / "local" / "default.yaml").write_text("# of one machine\n")
    # Older ones do not read our license; then pip gets one, which needs a network.
    here = ["--no-build-isolation", "--no-index"] if Version(version("setuptools")) >= Version("77") else []
    pip("wheel", "--quiet", "--no-deps", *here, "--wheel-dir", str(top), str(source))
    (built,) = top.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of a fresh environment with the wheel, which borrows other packages from the one of the tests."""
    top = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(top)], check=True)
    python = top / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(top)}))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    pip("--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    return python.parent


def call(folder: Path, environment: Path, *words: str) -> Outcome:
    """A command in the environment, without anything of the checkout."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables["PATH"] = f"{environment}{os.pathsep}{variables['PATH']}"
    ended = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, timeout=300)
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def test_wheel_contains_the_configuration_and_every_file_of_the_package(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "deit").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    for folder in CONFIGURATION:
        files = [path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.yaml") if path.parent.name != "local"]
        wanted |= {f"deit/{path}" for path in files}
    assert {name for name in inside if ".dist-info/" not in name} == wanted | {"deit/constraints.txt"}


def test_wheel_has_the_right_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        found = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
        assert "deit = deit.cli:main" in archive.read(f"{folder}/entry_points.txt").decode()
    assert (found["Name"], found["License-Expression"]) == ("deit-mindspore", "Apache-2.0")
    assert found["Requires-Python"] == "<3.12,>=3.10" and found["Version"] in wheel.name
    assert found["Description-Content-Type"] == "text/markdown" and str(found.get_payload()).startswith("# ")
    assert any(line.startswith("mindspore<") for line in found.get_all("Requires-Dist"))


def test_installed_command_trains_in_any_folder(environment: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my work #1"
    (folder / "settings" / "experiment").mkdir(parents=True)
    (folder / "settings" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n# Mine.\ndefaults:\n  - quickstart\nname: mine\nschedule:\n  epochs: 2\n"
    )
    recipe = with_last(*SMALL, "experiment=mine")
    recipe = [text for text in recipe if not text.startswith("schedule.epochs=")]
    trained = call(folder, environment, "deit", "--config-dir", "settings", *recipe)
    assert trained.code == 0, trained.err
    (run,) = folder.glob("runs/mine/*")
    assert "finished in" in trained.out
    found = json.loads((run / "environment.json").read_text())
    assert found["program"] == ["deit"] and found["command"][-2:] == ["--config-dir", "settings"]
    assert found["git"] == {"commit": None, "dirty": None} and found["versions"]["deit-mindspore"]
    assert "epochs: 2" in (run / "config.yaml").read_text()

    page = call(folder, environment, "deit", "sweep=seeds", "experiment=quickstart", "dry_run=true")
    assert page.code == 0 and "seed=4" in page.out, page.err


def test_module_can_be_run_as_a_command(environment: Path, tmp_path: Path) -> None:
    found = call(tmp_path, environment, str(environment / "python"), "-m", "deit", "--help")
    assert found.code == 0 and "python -m deit experiment=quickstart" in found.out
    wrong = call(tmp_path, environment, "deit", "nothing=1")
    assert wrong.code == 2 and "`deit --help GROUP`" in wrong.err
    assert list(tmp_path.iterdir()) == []
