"""tracking.uri: valid ones, mistakes, printed links, and paths in it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from composition import freeze

from deit.errors import UserError
from deit.secrets import redact, with_credentials
from deit.tracking import uri as store


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        (None, "null"),
        ("mlruns", "has no scheme"),
        ("/data/mlruns", "has no scheme"),
        ("mlflow.db", "has no scheme"),
        ("localhost:5000", "has no scheme"),
        ("file:///data/mlruns", "no longer keeps runs in folders"),
        ("ftp://node01/x", "unknown scheme ftp"),
        ("databricks://x", "unknown scheme databricks"),
        ("sqlite://mlflow.db", "two slashes"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///m.db?timeout=5", "options after the ?"),
        ("http://", "names no host"),
        ("http://:5000", "names no host"),
        ("http://node01:port", "not a URI"),
        ("http://node01:99999", "not a URI"),
        ("http://node01:5000/#/experiments/1", "give the server alone, tracking.uri=http://node01:5000. Allowed"),
        ("https://node01/ml/#/experiments/1/runs/ab?workflowType=x", "tracking.uri=https://node01/ml. Allowed"),
        ("http://node01:5000/?a=1", "give the server alone, tracking.uri=http://node01:5000. Allowed"),
        ("node01:5000/", "has no scheme; give tracking.uri=http://node01:5000/. Allowed"),
    ],
)
def test_bad_uri_is_rejected_with_the_allowed_ones(uri: str | None, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        store.check_uri(uri)
    message = str(caught.value)
    assert message.startswith(f"tracking.uri is {uri or 'null'}")
    assert problem in message
    assert "sqlite:///FILE, http(s)://HOST:PORT" in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "uri", ["sqlite:///mlflow.db", "sqlite:////{}/new/mlflow.db", "http://node01:5000", "https://mlflow.example/a"]
)
def test_good_uri_is_accepted(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store.check_uri(uri.format(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_folder_is_not_an_sqlite_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="which is a folder"):
        store.check_uri(f"sqlite:///{tmp_path}")


def test_missing_database_driver_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"postgresql://\*\*\*@db/mlflow, which needs the Python package psycopg;"):
        store.check_uri("postgresql://me:secret@db/mlflow")


def test_installed_database_driver_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "pymysql" else None)
    store.check_uri("mysql+pymysql://me@db:3306/mlflow")


def test_experiment_folders_have_valid_names() -> None:
    assert store.artifact_folder("cifar10") == "cifar10" and store.artifact_folder("a/b c") == "a_b_c"
    odd = ["..", ".", "x" * 256, "x" * 255 + "y", "图" * 256]
    folders = [store.artifact_folder(name) for name in odd]
    assert len(set(folders)) == len(odd)
    assert all(len(folder.encode()) < 200 and folder.strip(".") and "/" not in folder for folder in folders)


def test_mlflow_variables_apply_if_nothing_is_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tracking_of_nothing = freeze("experiment=quickstart").tracking
    assert (tracking_of_nothing.uri, tracking_of_nothing.experiment) == ("sqlite:///mlflow.db", "digits")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:sesame@node01:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "team/digits, 3")
    monkeypatch.setenv("DEIT_TRACKING_URI", "")  # restored afterwards
    tracking = freeze("experiment=quickstart").tracking
    assert (tracking.uri, tracking.experiment) == ("http://***@node01:5000", "team/digits, 3")
    assert with_credentials(tracking.uri) == "http://me:sesame@node01:5000" and redact("x sesame") == "x ***"
    monkeypatch.delenv("DEIT_TRACKING_URI")  # a resume in another shell, in which only MLflow's own is set
    assert with_credentials(tracking.uri) == "http://me:sesame@node01:5000"
    tracking = freeze("experiment=quickstart", "tracking.uri=sqlite:///a.db", "tracking.experiment=b").tracking
    assert (tracking.uri, tracking.experiment) == ("sqlite:///a.db", "b")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert freeze("experiment=quickstart").tracking == tracking_of_nothing
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "5")
    assert freeze("experiment=quickstart").tracking.experiment == "id:5"
    assert freeze("experiment=quickstart", "tracking.experiment=b").tracking.experiment == "b"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "named")
    assert freeze("experiment=quickstart").tracking.experiment == "named"
    empty = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "IMAGENET_DIR", "DEIT_WEIGHTS")
    for name in empty:
        monkeypatch.setenv(name, "")  # set to nothing is not set
    assert freeze("experiment=quickstart").tracking == tracking_of_nothing
    assert freeze("data.num_classes=10").data.root == "./data/imagenet" and freeze().weights_dir == "./weights"


@pytest.mark.parametrize("key", ["tracking.experiment", "tracking.run_name"])
def test_name_too_long_for_mlflow_is_rejected(key: str) -> None:
    for name, length in (("e" * 600, 600), ("''", 0), ("' '", 1)):
        with pytest.raises(UserError, match=f"{key} has {length} characters, but MLflow takes 1 to 25"):
            freeze("experiment=quickstart", f"{key}={name}")
    freeze("experiment=quickstart", f"{key}={'e' * 250}")


UI = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1 --backend-store-uri"


def test_printed_command_and_address_of_a_run() -> None:
    assert store.ui_command("sqlite:///mlflow.db") == f"{UI} sqlite:///mlflow.db"
    assert store.ui_command("sqlite:///my runs.db") == f"{UI} 'sqlite:///my runs.db'"
    assert store.ui_command("https://node01:5000") is None
    assert "secret" not in str(store.ui_command("postgresql://me:secret@db/mlflow"))
    page = "#/experiments/3/runs/abc?workflowType=machine_learning"
    assert store.run_url("sqlite:///mlflow.db", "3", "abc") == f"http://127.0.0.1:5000/{page}"
    assert store.run_url("https://me:secret@node01:5000/ml/", "3", "abc") == f"https://node01:5000/ml/{page}"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("get http://me:se@cret@node01:5000/x now", "get http://***@node01:5000/x now"),
        (
            "tracking.uri='postgresql://me:secret@db/x?password=secret&a=1'",
            "tracking.uri='postgresql://***@db/x?password=***&a=1'",
        ),
        ("sqlite:///a/b@c.db and mail me@example.org", "sqlite:///a/b@c.db and mail me@example.org"),
    ],
)
def test_credentials_are_removed(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.process
def test_store_is_checked_without_importing_mlflow() -> None:
    code = "import sys, deit.tracking.uri, deit.lookup.mlflow, deit.tracking.shipper; print('mlflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["a#b", "g%20h", "图 片", "q?r", "a@b:c", "100%", "x&y=z", "plain"])
def test_path_in_a_uri_round_trips(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    file = folder / "my runs.db"
    uri = store.sqlite_uri(file)
    assert store.sqlite_file(uri) == file
    store.check_uri(uri)
    # SQLAlchemy, and so MLflow, opens the same file.
    with sqlalchemy.create_engine(uri).connect() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (x INTEGER)"))
    assert [path.name for path in folder.iterdir()] == ["my runs.db"]
    # A relative one is seen from its folder, and is the same store.
    assert store.anchored("sqlite:///my runs.db", folder) == uri
    assert store.identity("sqlite:///my%20runs.db") == store.identity(uri) == f"sqlite:///{file}"
    (word,) = shlex.split(str(store.ui_command(uri)))[-1:]
    assert word == uri
