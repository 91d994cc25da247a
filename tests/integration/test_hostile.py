"""What comes from strangers runs nothing and names nothing outside of its folder; what is secret stays out of every file."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from command import ROOT
from composition import freeze
from ports import reserved_port
from safetensors.numpy import save_file

from deit.config import frozen
from deit.errors import UserError
from deit.files import write_json
from deit.runs import checkpoint, directory
from deit.runs.directory import RunDirectory
from deit.secrets import URI_VARIABLE, redact, set_aside, with_credentials
from deit.tracking import uri as store
from deit.weights.read import MOST_HEADER, read_shapes, read_weights

GLOBAL = "# @package _global_\n"

# --------------------------------------------------------------------------------------------- no code from a configuration

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
def test_nothing_typed_is_called(typed: str, said: str, command: Callable, tmp_path: Path) -> None:
    for arguments in ((typed,), ("-m", typed, "seed=1,2")):
        outcome = command(*arguments)
        assert outcome.code == 2 and said in outcome.err and "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("group", "text", "said"), FILES)
def test_nothing_in_a_file_is_called(
    group: str, text: str, said: str, command: Callable, tmp_path: Path, tmp_path_factory
) -> None:
    folder = tmp_path_factory.mktemp("more")
    (folder / group).mkdir()
    (folder / group / ("default.yaml" if group == "local" else "bad.yaml")).write_text(text)
    outcome = command("--config-dir", str(folder), *([] if group == "local" else [f"{group}=bad"]))
    assert outcome.code == 2 and said in outcome.err and "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_launcher_from_a_file_is_no_option_of_ours(command: Callable, tmp_path: Path, tmp_path_factory) -> None:
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


def test_no_source_has_a_shell_a_pickle_or_an_eval() -> None:
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


# ---------------------------------------------------------------------------------------------------- files of strangers


def bomb() -> str:
    """A kilobyte that stands for 10^9 values."""
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
def test_a_configuration_of_a_stranger_is_data(text: str, said: str, tmp_path: Path, command: Callable) -> None:
    run = directory.create(tmp_path / "runs", "theirs")
    run.config.write_text(text)
    outcome = command("task=evaluate", f"run={run.path}")
    assert outcome.code == 2 and said in outcome.err and len(outcome.err) < 2000 and "Traceback" not in outcome.err
    assert not (tmp_path / "called").exists()


@pytest.fixture
def theirs(tmp_path: Path) -> RunDirectory:
    """A run with a checkpoint, as a stranger may hand it over."""
    run = directory.create(tmp_path / "runs", "theirs")
    path = checkpoint.write(run, 5, {"model": {"w": np.ones(3, np.float32)}}, {"model": {}, "num_classes": 2})
    write_json(run.best, {"val": {"checkpoint": path.name, "step": 5, "top1": 1.0}})
    assert checkpoint.weights_of_run(run, "best") == {"val": path / "model.safetensors"}
    return run


@pytest.mark.parametrize("name", ["../../outside", "/etc", "step_5", "step_00000005/..", 5, None, "step_00000005\n"])
def test_the_best_checkpoint_stands_in_its_own_folder(name: object, theirs: RunDirectory) -> None:
    write_json(theirs.best, {"val": {"checkpoint": name, "step": 5, "top1": 1.0}})
    for use in (lambda: checkpoint.weights_of_run(theirs, "best"), lambda: checkpoint.prune(theirs, 1)):
        with pytest.raises(UserError, match=r"best\.json: names"):
            use()


@pytest.mark.parametrize("text", ["[1]", "{", '{"val": 3}', '{"other": {"checkpoint": "step_00000005"}}', "[" * 100_000])
def test_a_damaged_pointer_is_named(text: str, theirs: RunDirectory) -> None:
    theirs.best.write_text(text)
    with pytest.raises(UserError, match=r"best\.json: damaged"):
        checkpoint.weights_of_run(theirs, "best")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": {"../../x.safetensors": {"bytes": 1, "sha256": "0"}}}, "not a file of a checkpoint folder"),
        ({"files": {"/etc/passwd": {"bytes": 1, "sha256": "0"}}}, "not a file of a checkpoint folder"),
        ({"files": {"model.safetensors": {"bytes": "many", "sha256": "0"}}}, "does not say what is in model.safetensors"),
        ({"files": {"model.safetensors": 3}}, "does not say what is in model.safetensors"),
        ({"files": []}, "lists no files"),
        ({"format": 99}, "has format 99"),
    ],
)
def test_a_state_names_only_files_beside_it(change: dict, said: str, theirs: RunDirectory) -> None:
    state = checkpoint.complete(theirs)[0] / checkpoint.STATE
    state.write_text(json.dumps(json.loads(state.read_text()) | change))
    with pytest.raises(UserError, match=said):
        checkpoint.weights_of_run(theirs, "last")


def test_no_file_of_a_checkpoint_is_a_link(theirs: RunDirectory, tmp_path: Path) -> None:
    (folder,) = checkpoint.complete(theirs)
    for name in ("model.safetensors", checkpoint.STATE):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        with pytest.raises(UserError, match=rf"{name}: is a link"):
            checkpoint.weights_of_run(theirs, "last")
        with pytest.raises(UserError, match=rf"{name}: is a link"):
            checkpoint.read_part(folder, "model")
        (folder / name).unlink()
        (tmp_path / name).rename(folder / name)
    folder.rename(tmp_path / folder.name)
    folder.symlink_to(tmp_path / folder.name)
    with pytest.raises(UserError, match="no last checkpoint yet"):
        checkpoint.weights_of_run(theirs, "last")


def test_a_safetensors_file_is_judged_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    huge = (MOST_HEADER + 1).to_bytes(8, "little")
    cases = {
        b"": "header would end beyond the file",
        (1 << 62).to_bytes(8, "little") + b"{}": "header would end beyond the file",
        huge + b" " * (MOST_HEADER + 1): "its header has",
        b"\x02" + b"\0" * 7 + b"[]": "truncated or not a safetensors file",
    }
    for content, said in cases.items():
        path.write_bytes(content)
        for read in (read_shapes, read_weights):
            with pytest.raises(UserError, match=said):
                read(path)
    save_file({"w": np.ones(3, np.float32)}, path)
    assert read_shapes(path)[0] == {"w": (3,)}
    with open(path, "r+b") as file:
        file.truncate(1 << 40)  # a hole, which no disk need hold
    for read in (read_shapes, read_weights):
        with pytest.raises(UserError, match="bytes are more than"):
            read(path)


def test_a_network_that_would_load_a_library_is_refused(tmp_path: Path) -> None:
    from mindspore.train.mind_ir_pb2 import ModelProto

    from deit.engine.mindir import load_mindir

    for name in ("Custom", "REF::Custom", "PyExecute"):
        proto = ModelProto()
        proto.functions.add().node.add().op_type = name
        (tmp_path / "a.mindir").write_bytes(proto.SerializeToString())
        with pytest.raises(UserError, match=rf"uses {name}, .*nothing was executed"):
            load_mindir(tmp_path / "a.mindir", (224, 224), "distill.teacher=a.mindir")


# --------------------------------------------------------------------------------------------------------------- secrets

SECRET, CLOUD = "pa55w0rd-of-me", "cloud-key-0123456789"


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("http://node01:5000", "http://node01:5000"),
        ("postgresql://me@db/mlflow", "postgresql://me@db/mlflow"),
        (f"postgresql://me:{SECRET}@db/mlflow", "postgresql://***@db/mlflow"),
        (f"https://me:{SECRET}@node01/ml", "https://***@node01/ml"),
        (f"https://{SECRET}@node01/ml", "https://***@node01/ml"),
        (f"https://node01/ml?access_token={SECRET}&a=1", "https://node01/ml?access_token=***&a=1"),
    ],
)
def test_credentials_are_set_aside_and_found_again(uri: str, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URI_VARIABLE, "http://other")
    assert set_aside(uri) == kept and with_credentials(kept) == uri
    assert (os.environ[URI_VARIABLE] == uri) is (kept != uri)
    assert set_aside(kept) == kept and with_credentials(kept) == uri  # a second time changes nothing
    assert SECRET not in redact(f"while asking {uri} (password {SECRET})") or kept == uri


def test_credentials_that_are_lacking_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URI_VARIABLE, raising=False)
    with pytest.raises(
        UserError, match=r"run directories do not contain credentials.*DEIT_TRACKING_URI.*MLFLOW_TRACKING_TOKEN"
    ):
        store.check_uri("https://***@node01")
    with pytest.raises(UserError, match=r"set DEIT_TRACKING_URI to the complete URI; tracking=none"):
        store.check_uri("postgresql://***@db/mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    assert with_credentials("https://***@node01/ml") == "https://node01/ml"
    assert redact(f"sent {SECRET}") == "sent ***"


def test_no_key_of_ours_is_taken_for_a_secret() -> None:
    for text in ("optim.decay_dist_token=true", "data.root=/a:b/c", "-m model=deit_tiny,deit_small", "hydra/launcher=cards"):
        assert redact(text) == text


def holding(folder: Path, *secrets: str) -> list[str]:
    """The files below ``folder`` in which a secret stands."""
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
    """The address of a real MLflow server, whose database and artifacts stand in the test's folder."""
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


def test_a_finished_run_and_its_tracking_hold_no_secret(
    server: str, tmp_path: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ("model.embed_dim=16", "model.depth=1", "model.num_heads=2", "data.train_limit=128", "data.val_limit=50")
    recipe = ("data.batch_size=32", "schedule.epochs=1", "schedule.warmup_epochs=0", "tracking.log_every=1", "hardware=cpu")
    uri = f"http://me:{SECRET}@{server}"
    secrets = {"AWS_SECRET_ACCESS_KEY": CLOUD, "MLFLOW_TRACKING_TOKEN": "token-" + CLOUD}
    ended = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), "experiment=quickstart", *network, *recipe, f"tracking.uri={uri}"],
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
