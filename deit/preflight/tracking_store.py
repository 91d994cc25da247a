"""Check the MLflow store within a second, to find what would otherwise fail silently during hours of training.

A permanent error (not an MLflow server, access denied, not a database) stops the start. A server that does not respond, or a
deleted experiment, causes one line: it may work later, and never delays a run.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from functools import cache
from pathlib import Path
from typing import Any

from deit.config.schema import RunConfig, TrackingConfig
from deit.console import console
from deit.errors import UserError
from deit.secrets import redact, with_credentials
from deit.tracking import uri as store
from deit.tracking.mlflow_errors import reason

PATIENCE = 1.0  # seconds
_PATH, _PATH_OF_ID = "/api/2.0/mlflow/experiments/get-by-name", "/api/2.0/mlflow/experiments/get"
_LOGIN = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
# With these MLflow logs in by its own means: a denial here says nothing.
_OTHER_LOGINS = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4")


class _NoAnswer(Exception):
    """The store does not respond now."""


class _Wrong(Exception):
    """A permanent error of the store."""


def check_tracking(config: RunConfig) -> None:
    """Check the store of ``config``. Raises UserError; for a resumed run only prints a line."""
    tracking = config.tracking
    if tracking.backend == "none" or tracking.uri is None or not config.task.tracked:
        return
    if config.hardware.node_rank:  # machine 0 sends
        return
    line: str | None
    try:
        line = look(tracking)
    except UserError as error:
        if config.resume is None:
            raise
        line = str(error)
    if line and line not in _said:
        _said.add(line)
        console(stderr=True).print(line)


def look(tracking: TrackingConfig) -> str | None:
    """A line on a problem that may be temporary; None if all is in order. Raises UserError for permanent ones."""
    assert tracking.uri is not None
    try:
        return _look(with_credentials(tracking.uri), tracking.experiment)
    except _Wrong as error:
        raise UserError(f"tracking.uri is {redact(tracking.uri)}: {error}") from None


_said: set[str] = set()  # lines already printed; the trials of a sweep share them


@cache
def _look(uri: str, experiment: str) -> str | None:
    """A line to show; None if all is in order. Raises _Wrong."""
    number = store.experiment_id(experiment)
    try:
        if number is None:
            used = store.usable_experiment(experiment, lambda name: _stage(uri, name))
        else:
            used = experiment
            _check_id(number, _stage(uri, experiment))
    except _NoAnswer as error:
        return (
            f"MLflow: tracking.uri={redact(uri)} does not respond ({redact(str(error))}). The run keeps everything and sends "
            "it once MLflow responds."
        )
    if used == experiment:
        return None
    return (
        f"MLflow: the experiment {experiment} was deleted there; this goes to {used}. `mlflow experiments restore` brings the "
        "old one back, `mlflow gc` frees its name."
    )


def _check_id(number: str, stage: str | None) -> None:
    """Raise _Wrong unless there is an experiment of this number; a new store will have the experiment 0."""
    if stage == "deleted" or (stage is None and number != "0"):
        raise _Wrong(
            f"the experiment with the id {number} {'was deleted there' if stage else 'does not exist there'}. Set "
            "MLFLOW_EXPERIMENT_ID to another, or give tracking.experiment=NAME."
        )


def _stage(uri: str, experiment: str) -> str | None:
    """``active`` or ``deleted``; None for an experiment that does not exist. Raises _NoAnswer and _Wrong."""
    if uri.startswith(("http://", "https://")):
        return _stage_at_server(uri, experiment)
    file = store.sqlite_file(uri)
    if file is None or not file.exists() or not file.stat().st_size:
        return None
    try:
        with sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=PATIENCE) as database:
            number = store.experiment_id(experiment)
            column, value = ("name", experiment) if number is None else ("experiment_id", number)
            rows = database.execute(f"SELECT lifecycle_stage FROM experiments WHERE {column} = ?", (value,)).fetchall()
    except sqlite3.OperationalError:  # locked, or a new one without tables yet
        return None
    except sqlite3.DatabaseError as error:
        raise _Wrong(f"{file} is not an SQLite database ({error}). Give another file, or tracking=none.") from None
    return str(rows[0][0]) if rows else None


def _stage_at_server(uri: str, experiment: str) -> str | None:
    answered: queue.Queue[Any] = queue.Queue()
    # In a thread, because name resolution has its own timeout.
    threading.Thread(target=lambda: answered.put(_asked(uri, experiment)), daemon=True).start()
    try:
        answer = answered.get(timeout=1.5 * PATIENCE)
    except queue.Empty:
        raise _NoAnswer(f"no answer within {PATIENCE:.0f} s{_proxy(uri)}") from None
    if isinstance(answer, Exception):
        raise _NoAnswer(f"{reason(answer)}{_proxy(uri)}") from None
    return _judged(uri, answer)


def _asked(uri: str, experiment: str) -> Any:
    """The response or the error of requests, asked as MLflow does, with the variables that it reads."""
    import requests  # MLflow's own client, so that proxies, certificates and ~/.netrc mean the same

    environment = os.environ.get
    token, user = environment("MLFLOW_TRACKING_TOKEN"), environment("MLFLOW_TRACKING_USERNAME")
    unchecked = environment("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    number = store.experiment_id(experiment)
    path, key, value = (_PATH, "experiment_name", experiment) if number is None else (_PATH_OF_ID, "experiment_id", number)
    try:
        return requests.get(
            uri.rstrip("/") + path,
            params={key: value},
            headers={"Authorization": f"Bearer {token}"} if token and not user else {},
            auth=(user, environment("MLFLOW_TRACKING_PASSWORD", "")) if user else None,
            verify=False if unchecked else environment("MLFLOW_TRACKING_SERVER_CERT_PATH") or True,
            cert=environment("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
            timeout=PATIENCE,
        )
    except Exception as error:  # any error: the run does not depend on it
        return error


def _judged(uri: str, answer: Any) -> str | None:
    try:
        body = answer.json()
        body = body if isinstance(body, dict) else {}
    except ValueError:
        body = {}
    if answer.status_code == 200 and "experiment" in body:
        return str(body["experiment"].get("lifecycle_stage", "active"))
    if answer.status_code == 404 and body.get("error_code") == "RESOURCE_DOES_NOT_EXIST":
        return None
    if answer.status_code in (401, 403, 407):
        said = answer.text.strip().partition("\n")[0][:200]
        if "host header" in said.lower():
            raise _Wrong(f"the server rejects its host name ({said}). Start it with `mlflow server --allowed-hosts`.")
        if any(os.environ.get(name) for name in _OTHER_LOGINS) or _has_credentials_file():
            return None
        denied = f"access is denied ({answer.status_code} {said}){_proxy(uri)}"
        raise _Wrong(f"{denied}. Set {_LOGIN}; tracking=none works without MLflow.")
    if answer.status_code >= 500 or answer.status_code in (408, 429):
        raise _NoAnswer(f"{answer.status_code} {answer.reason}{_proxy(uri)}")
    raise _Wrong(
        f"there is no MLflow server ({answer.status_code} {answer.reason} to {_PATH}){_proxy(uri)}. Give "
        "http(s)://HOST:PORT as `mlflow server` prints it; tracking=none works without MLflow."
    )


def _has_credentials_file() -> bool:
    return Path(os.path.expanduser("~/.mlflow/credentials")).exists()  # noqa: PTH111  # without HOME the path stays as it is


def _proxy(uri: str) -> str:
    """A remark on the proxy from the environment, if there is one."""
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(uri, get_environ_proxies(uri))
    return f", asked through the proxy {redact(proxy)}, see no_proxy" if proxy else ""
