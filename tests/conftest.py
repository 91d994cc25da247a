"""What the tests share: a checked configuration, and the command in this process or in one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import open_dict

from deit.config import compose, options, overrides
from deit.config.schema import RunConfig

LAUNCH = Path(__file__).resolve().parents[1] / "launch.py"


@dataclass
class Outcome:
    code: int
    out: str
    err: str


def freeze(*typed: str) -> RunConfig:
    """The configuration that these overrides make, checked."""
    compose.register()
    given = overrides.check(typed, sweeping=False)
    with initialize_config_dir(str(options.CONF), version_base="1.3"):
        composed = hydra_compose("config", list(typed))
    with open_dict(composed):
        composed.pop("hydra", None)
    return compose.freeze(composed, given)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`python launch.py ARGUMENTS` in an empty directory, without starting a process for it."""
    from deit.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["launch.py"])

    def run(*arguments: str) -> Outcome:
        code = main(arguments)
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., Outcome]:
    """The same in a process of its own."""

    def run(*arguments: str) -> Outcome:
        ended = subprocess.run(
            [sys.executable, str(LAUNCH), *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=180
        )
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture
def graph_mode() -> Iterator[None]:
    """MindSpore on the CPU with compiled graphs, as the worker sets it; imported only by the tests that need it."""
    import mindspore as ms

    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=ms.PYNATIVE_MODE)
