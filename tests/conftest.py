"""Fixtures: the command in this process or in its own one, MindSpore in graph mode, the fidelity record."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import LAUNCH, Outcome
from fidelity import Report
from launching import SHARED_CACHE, Running

from deit.runs import run_processes
from deit.runs.directory import RunDirectory

# A container's setting, with which every process that a test starts compiles all modules again: a seventh of a small training.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

REPORT = pytest.StashKey[Report]()
TRACKING_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")


@pytest.fixture(autouse=True)
def no_tracking_of_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the developer's MLflow server counts, nor the store that MLflow has noted in this process."""
    for name in TRACKING_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def no_weights_of_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Official weights that the developer has downloaded are not found."""
    for name in ("TORCH_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, "/nonexistent")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Hydra sets up logging in the process that composes, onto a stream that ends with the test."""
    root = logging.getLogger()
    level, before = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler and handler not in before:
            root.removeHandler(handler)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`python launch.py ARGUMENTS` in an empty directory, without starting a process for it."""
    from deit.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["launch.py"])

    def run(*arguments: str) -> Outcome:
        code = main(arguments)
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., Outcome]:
    """The same in a separate process."""

    def run(*arguments: str) -> Outcome:
        ended = subprocess.run(
            [sys.executable, str(LAUNCH), *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture
def background(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(Running(tmp_path, *arguments))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        for path in tmp_path.glob("runs/*/*"):
            run_processes.kill_all(RunDirectory(path))


@pytest.fixture
def graph_mode() -> Iterator[None]:
    """MindSpore on the CPU with compiled graphs, as the worker sets it; imported only by the tests that need it."""
    import mindspore as ms

    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=ms.PYNATIVE_MODE)


def computes_without_a_device() -> bool:
    """MindSpore refuses `set_device` in such a process."""
    if "mindspore" not in sys.modules:
        return False
    from mindspore.device_manager import DeviceContextManager, DeviceManagerConf

    context = DeviceContextManager.get_instance().get_device_context("CPU")
    return bool(context and context.initialized() and not DeviceManagerConf.get_instance().is_device_enable())


@pytest.fixture(autouse=True)
def device_is_set_before_it_computes() -> Iterator[None]:
    """Otherwise each later test in this process that sets it fails, in some orders of the tests alone."""
    before = computes_without_a_device()
    yield
    assert before or not computes_without_a_device(), "this test computes, so it needs the fixture graph_mode"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and by the fixtures that start processes or compile a network."""
    for item in items:
        folder = item.path.relative_to(config.rootpath / "tests").parts[0]
        fixtures = set(getattr(item, "fixturenames", ()))
        if folder in ("integration", "faults") or fixtures & {"process", "background"}:
            item.add_marker("process")
        if "graph_mode" in fixtures:
            item.add_marker("slow")


def pytest_collection_finish() -> None:
    """MindSpore collects garbage before each compilation: 0.4 s for the half million objects of the collected tests."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before the fixtures of a module, too: MLflow notes its store in the environment of the process that asked it."""
    for name in TRACKING_VARIABLES:
        os.environ.pop(name, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-fidelity", action="store_true", help="write docs/fidelity.md; give whole files: their rows are replaced"
    )


def pytest_configure(config: pytest.Config) -> None:
    os.environ["DEIT_CACHE"] = str(SHARED_CACHE)
    config.stash[REPORT] = Report(write=config.getoption("--write-fidelity"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    report = session.config.stash[REPORT]
    if report.write and exitstatus == pytest.ExitCode.OK:
        report.save()


@pytest.fixture
def fidelity(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Record a comparison with the reference for docs/fidelity.md, and check its tolerance (0: exact)."""
    report = request.config.stash[REPORT]
    test = request.node.originalname
    file = str(request.path.relative_to(request.config.rootpath))

    def record(what: str, *, section: str, reference: str, tolerance: float, measured: float, unit: str = "") -> None:
        report.record(
            what,
            section=section,
            reference=reference,
            tolerance=tolerance,
            measured=measured,
            unit=unit,
            file=file,
            test=test,
        )

    return record
