"""Before a start: the answer of an MLflow store within a second, and the resulting message or refusal."""

from __future__ import annotations

import dataclasses
import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from composition import composed

from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.preflight import tracking_store
from deit.preflight.tracking_store import check_tracking

STAGE = {"active": {"experiment": {"lifecycle_stage": "active"}}, "deleted": {"experiment": {"lifecycle_stage": "deleted"}}}
UNKNOWN = (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No Experiment with name=x exists"})


class Answers:
    """A web server with one answer for all requests, or one for each experiment name."""

    def __init__(self) -> None:
        self.code, self.body = 200, ""
        self.by_name: dict[str, tuple[int, Any]] = {}
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers.headers.append(dict(self.headers))
                answers.paths.append(self.path)
                code, body = answers.by_name.get(self.path.rpartition("experiment_name=")[2], (answers.code, answers.body))
                text = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._listener.server_port}"
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    for name in ("http_proxy", "HTTP_PROXY", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    tracking_store._look.cache_clear()
    tracking_store._said.clear()
    answers = Answers()
    yield answers
    answers.close()


@cache
def quickstart() -> RunConfig:
    return composed("experiment=quickstart", "hardware=cpu")


def look(uri: str, resume: str | None = None, backend: str = "mlflow", experiment: str = "x") -> None:
    tracking = dataclasses.replace(quickstart().tracking, uri=uri, experiment=experiment, backend=backend)
    check_tracking(dataclasses.replace(quickstart(), tracking=tracking, resume=resume))


@pytest.mark.parametrize(
    ("code", "body", "told"),
    [
        (404, "<h1>Not Found</h1>", "there is no MLflow server (404 Not Found"),
        (200, "<html>a router</html>", "there is no MLflow server (200 OK"),
        (404, {"message": "no route"}, "there is no MLflow server"),
        (
            401,
            "You are not authenticated",
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        ),
        (403, "Invalid Host header - possible DNS rebinding attack detected", "mlflow server --allowed-hosts"),
    ],
)
def test_permanent_refusal_is_reported_before_the_start(
    web: Answers, code: int, body: Any, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    web.code, web.body = code, body
    with pytest.raises(UserError, match=r"^tracking\.uri is http://127") as caught:
        look(web.uri)
    assert told in str(caught.value) and caught.value.exit_code == 2
    look(web.uri, resume="runs/x")  # a training that was begun is worth more than its figures in MLflow
    assert told in capsys.readouterr().err


def test_unreachable_server_is_one_line(web: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    web.code = 503
    look(web.uri)
    look(web.uri)
    said = capsys.readouterr().err
    assert said.count("does not respond (503 Service Unavailable") == 1 and said.count("\n") == 1
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and says nothing
        look(f"http://127.0.0.1:{silent.getsockname()[1]}")
    said = capsys.readouterr().err
    assert "does not respond" in said and said.count("(") == said.count(")"), said
    web.close()
    tracking_store._look.cache_clear()
    look(web.uri)
    assert "Connection refused" in capsys.readouterr().err


def test_proxy_of_the_environment_is_reported(
    web: Answers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("http_proxy", "http://me:sesame@127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    look("http://mlflow.example:5000")
    said = capsys.readouterr().err
    assert "through the proxy http://***@127.0.0.1:9, see no_proxy" in said and "sesame" not in said


def test_server_gets_the_same_request_as_from_mlflow(
    web: Answers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    web.code, web.body = UNKNOWN
    look(web.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "sesame")
    tracking_store._look.cache_clear()
    web.code, web.body = 200, STAGE["active"]
    look(web.uri)
    assert capsys.readouterr().err == ""
    assert [headers.get("Authorization") for headers in web.headers] == [None, "Bearer sesame"]
    look(web.uri, backend="none")
    assert len(web.headers) == 2


def test_deleted_experiment_is_reported_for_server_and_file(
    web: Answers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web.by_name = {"x": (200, STAGE["deleted"]), "x-2": (200, STAGE["deleted"]), "x-3": UNKNOWN}
    look(web.uri)
    assert "the experiment x was deleted there; this goes to x-3" in capsys.readouterr().err
    file = tmp_path / "a b.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE experiments (name TEXT, lifecycle_stage TEXT)")
        database.execute("INSERT INTO experiments VALUES ('x', 'deleted')")
    look(f"sqlite:///{file}")
    assert "the experiment x was deleted there; this goes to x-2" in capsys.readouterr().err


def test_file_that_is_not_a_database_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a text " * 100)
    with pytest.raises(UserError, match=r"notes\.txt is not an SQLite database"):
        look(f"sqlite:///{tmp_path}/notes.txt")
    (tmp_path / "empty.db").write_text("")  # MLflow fills it
    look(f"sqlite:///{tmp_path}/empty.db")


def test_experiment_given_by_id_must_exist(web: Answers, tmp_path: Path) -> None:
    web.code, web.body = 200, STAGE["active"]
    look(web.uri, experiment="id:5")
    assert web.paths[-1] == "/api/2.0/mlflow/experiments/get?experiment_id=5"
    file = tmp_path / "mlflow.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT, lifecycle_stage TEXT)")
        database.execute("INSERT INTO experiments VALUES (5, 'five', 'active'), (6, 'six', 'deleted')")
    look(f"sqlite:///{file}", experiment="id:5")
    look(f"sqlite:///{tmp_path}/new.db", experiment="id:0")  # MLflow makes it
    with pytest.raises(UserError, match="the experiment with the id 6 was deleted there"):
        look(f"sqlite:///{file}", experiment="id:6")
    with pytest.raises(UserError, match=r"the experiment with the id 7 does not exist there.*MLFLOW_EXPERIMENT_ID"):
        look(f"sqlite:///{file}", experiment="id:7")
    web.code, web.body = UNKNOWN
    with pytest.raises(UserError, match="id 8 does not exist there"):
        look(web.uri, experiment="id:8")
