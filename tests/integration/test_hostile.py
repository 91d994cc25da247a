"""Untrusted files execute nothing and name nothing outside their folder; secrets are in no file."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from command import ROOT, with_last
from composition import freeze
from launching import SMALL
from ports import reserved_port

from deit.config import frozen
from deit.runs import directory
from deit.secrets import URI_VARIABLE

GLOBAL = "# @package _global_\n"


CALL = "{_target_: os.mkdir, path: called}"
TYPED = [
    ("model._target_=os.mkdir", "unknown key model._target_"),
    ("+model._target_=os.mkdir", "the schema is closed"),
    ("++optim._recursive_=true", "the schema is closed"),
    ("_target_=os.mkdir", "unknown key _target_"),
    (f"+callback={CALL}", "the schema is closed"),
    ("data._convert_=all", "unknown key data._convert_"),
    ("hydra.launcher._target_=os.mkdir", "hydra/launcher=OPTION"),
    ("hydra.sweeper._target_=os.mkdir", "hydra/launcher=OPTION"),
    (f"hydra.launcher={CALL}", "hydra/launcher=OPTION"),
    (f"+hydra.sweeper.sampler={CALL}", "hydra/launcher=OPTION"),
    (f"+hydra.callbacks.mine={CALL}", "hydra/launcher=OPTION"),
    ("+hydra.callbacks.mine.path=called", "callbacks are not supported"),
    ("hydra/job_logging=default", "logs are in the run directory"),
    ("+hydra.job_logging.formatters.x.()=os.mkdir", "not readable"),
    ("+hydra.hydra_logging.handlers={}", "logs are in the run directory"),
]
LOGGING = "{version: 1, formatters: {x: {(): os.mkdir, path: called}}, root: null}"
FILES = [
    ("experiment", f"{GLOBAL}model: {CALL}\n", "model._target_"),
    ("experiment", f"{GLOBAL}optim:\n  _target_: os.mkdir\n", "optim._target_"),
    ("experiment", f"{GLOBAL}callback: {CALL}\n", "unknown key callback"),
    ("experiment", f"{GLOBAL}hydra:\n  launcher: {{_target_: os.mkdir}}\n", "hydra.launcher._target_"),
    ("experiment", f"{GLOBAL}hydra:\n  sweeper: {{_target_: os.mkdir}}\n", "hydra.sweeper._target_"),
    ("experiment", f"{GLOBAL}hydra:\n  callbacks:\n    mine: {CALL}\n", "hydra.callbacks has mine"),
    ("experiment", f"{GLOBAL}hydra:\n  job_logging: {LOGGING}\n", "hydra.job_logging is set"),
    ("experiment", f"{GLOBAL}name: !!python/object/apply:os.mkdir [called]\n", "YAML"),
    ("local", f"{GLOBAL}data: {CALL}\n", "data._target_"),
    ("local", f"{GLOBAL}hydra:\n  callbacks:\n    mine: {CALL}\n", "hydra.callbacks has mine"),
    ("model", "name: bad\n_target_: os.mkdir\n", "model._target_"),
]


@pytest.mark.parametrize(("typed", "said"), TYPED)
def test_targets_on_the_command_line_are_not_called(typed: str, said: str, command: Callable, tmp_path: Path) -> None:
    for arguments in ((typed,), ("-m", typed, "seed=1,2")):
        outcome = command(*arguments)
        assert outcome.code == 2 and said in outcome.err and "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("group", "text", "said"), FILES)
def test_targets_in_files_are_not_called(
    group: str, text: str, said: str, command: Callable, tmp_path: Path, tmp_path_factory
) -> None:
    folder = tmp_path_factory.mktemp("more")
    (folder / group).mkdir()
    (folder / group / ("default.yaml" if group == "local" else "bad.yaml")).write_text(text)
    outcome = command("--config-dir", str(folder), *([] if group == "local" else [f"{group}=bad"]))
    assert outcome.code == 2 and said in outcome.err and "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_launcher_from_a_file_is_rejected(command: Callable, tmp_path: Path, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("more")
    (folder / "hydra/launcher").mkdir(parents=True)
    (folder / "hydra/launcher/mine.yaml").write_text("_target_: os.mkdir\npath: called\n")
    outcome = command("--config-dir", str(folder), "-m", "hydra/launcher=mine", "seed=1,2")
    assert outcome.code == 2 and "hydra/launcher is 'mine', but there is no such option" in outcome.err
    assert list(tmp_path.iterdir()) == []


FORBIDDEN = {
    "os": {"system", "popen", "execv", "execvp", "spawnv", "spawnl", "startfile"},
    "subprocess": {"getoutput", "getstatusoutput"},
    "pickle": None,
    "marshal": None,
    "shelve": None,
    "torch": None,
    "yaml": {"unsafe_load", "full_load", "load_all", "UnsafeLoader", "FullLoader", "Loader"},
}


# A training and the processes it forks exchange pickles over a socket pair and an unnamed file: nobody else reaches these.
OWN_PICKLES = ("deit/data/image_processes.py", "deit/data/process_prefetcher.py")


def test_sources_use_no_shell_pickle_or_eval() -> None:
    found = []
    files = [ROOT / "launch.py", *sorted((ROOT / "deit").rglob("*.py"))]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            place = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                found += [f"{place} imports {name}" for name in modules if FORBIDDEN.get(name.split(".")[0], ()) is None]
                if isinstance(node, ast.ImportFrom) and FORBIDDEN.get(node.module or ""):
                    found += [f"{place} {alias.name}" for alias in node.names if alias.name in FORBIDDEN[node.module or ""]]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.attr in (FORBIDDEN.get(node.value.id) or ()):
                    found.append(f"{place} {node.value.id}.{node.attr}")
            elif isinstance(node, ast.Call):
                if isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec", "compile", "__import__", "instantiate"):
                    found.append(f"{place} {node.func.id}()")
                wrong = [k.arg for k in node.keywords if k.arg in ("shell", "allow_pickle")]
                found += [f"{place} {name}=" for name in wrong]
    found = [text for text in found if not (text.endswith("imports pickle") and text.startswith(OWN_PICKLES))]
    assert len(files) > 100 and found == []


def bomb() -> str:
    """A kilobyte that expands to 10^9 values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb(), "alias"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested more than"),
        ("seed: " + "9" * 6000, "not readable as YAML"),
        ("name: 2024-99-99", "not readable as YAML"),
        ("x: " + "y" * (1 << 20), "larger than"),
        ("!!python/object/apply:os.mkdir [called]", "not readable as YAML"),
        ("\x00", "not readable as YAML"),
        ("- a", "contains a list"),
    ],
)
def test_untrusted_configuration_is_only_data(text: str, said: str, tmp_path: Path, command: Callable) -> None:
    run = directory.create(tmp_path / "runs", "theirs")
    run.config.write_text(text)
    outcome = command("task=evaluate", f"run={run.path}")
    assert outcome.code == 2 and said in outcome.err and len(outcome.err) < 2000 and "Traceback" not in outcome.err
    assert not (tmp_path / "called").exists()


SECRET, CLOUD = "pa55w0rd-of-me", "cloud-key-0123456789"


def holding(folder: Path, *secrets: str) -> list[str]:
    """The files below ``folder`` that contain a secret."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if any(secret.encode() in path.read_bytes() for secret in secrets)]


def test_a_dry_run_and_a_sweep_show_no_secret(command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URI_VARIABLE, "")
    uri = f"tracking.uri=http://me:{SECRET}@127.0.0.1:9"
    for arguments in (("dry_run=true",), ("-m", "seed=1,2", "dry_run=true"), ("nonsense=1",), ("optim.base_lr=x",)):
        outcome = command(*arguments, "experiment=quickstart", "hardware=cpu", uri)
        assert outcome.code == (0 if "dry_run=true" in arguments else 2), outcome.err
        assert SECRET not in outcome.out + outcome.err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []  # nothing is written at all


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a real MLflow server, whose database and artifacts are in the test's folder."""
    address = f"127.0.0.1:{reserved_port()}"
    place = ["--host", "127.0.0.1", "--port", address.partition(":")[2], "--workers", "1"]
    with open(tmp_path / "server.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *place, "--backend-store-uri", f"sqlite:///{tmp_path}/server.db"],
            cwd=tmp_path,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(f"http://{address}/health", timeout=2).close()
                break
            except OSError:
                assert time.monotonic() < end and process.poll() is None, (tmp_path / "server.log").read_text()
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_finished_run_and_its_tracking_contain_no_secret(
    server: str, tmp_path: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = with_last(*SMALL, "schedule.epochs=1", "schedule.warmup_epochs=0", "tracking.log_every=1", "hardware=cpu")
    uri = f"http://me:{SECRET}@{server}"
    secrets = {"AWS_SECRET_ACCESS_KEY": CLOUD, "MLFLOW_TRACKING_TOKEN": "token-" + CLOUD}
    ended = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *recipe, f"tracking.uri={uri}"],
        cwd=tmp_path,
        env=os.environ | secrets,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    assert "this run: http://127.0.0.1" in ended.stdout  # so all was sent
    assert SECRET not in ended.stdout + ended.stderr
    assert holding(tmp_path, SECRET, CLOUD) == []
    assert f"http://***@{server}".encode() in (tmp_path / "server.db").read_bytes()

    (path,) = (tmp_path / "runs/quickstart").iterdir()
    assert yaml.safe_load((path / "config.yaml").read_text())["tracking"]["uri"] == f"http://***@{server}"
    assert f"tracking.uri=http://***@{server}" in yaml.safe_load((path / "overrides.yaml").read_text())
    monkeypatch.delenv(URI_VARIABLE, raising=False)
    refused = command(f"resume={path}")
    assert refused.code == 2 and "run directories do not contain credentials" in refused.err
    monkeypatch.setenv(URI_VARIABLE, uri)
    for resume in ((f"resume={path}",), (f"resume={path}", f"tracking.uri={uri}")):
        assert freeze(*resume).tracking.uri == f"http://***@{server}"
    assert frozen.load(path / "config.yaml").tracking.uri == f"http://***@{server}"
