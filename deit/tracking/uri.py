"""Tracking URIs: what can be known without importing MLflow, which takes seconds.

Three kinds of store are allowed: a SQLite file, a database server and an MLflow server. MLflow itself would take a URI without
a scheme for a folder and fail much later, so a URI is checked before anything starts.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from deit.errors import UserError
from deit.secrets import redact, with_credentials

ALLOWED = "sqlite:///FILE, http(s)://HOST:PORT, postgresql://USER@HOST/DATABASE, mysql://USER@HOST/DATABASE"
EXPERIMENT_NAME, RUN_NAME = 256, 250  # maximum characters in MLflow's databases
EXPERIMENT_ID = "id:"  # before the number of an experiment where no name is given
SQLITE = "sqlite:///"
_FOLDER = 100  # bytes of a folder's name; most file systems allow 255
UI_VARIABLE = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
LOCAL_UI = "http://127.0.0.1:5000"  # the default address of `mlflow ui`
# The Python module for a database URI: for the driver after the +, or SQLAlchemy's default.
_DRIVERS = {
    "postgresql": "psycopg",
    "postgresql+psycopg": "psycopg",
    "postgresql+psycopg2": "psycopg2",
    "mysql": "MySQLdb",
    "mysql+mysqldb": "MySQLdb",
    "mysql+pymysql": "pymysql",
}


def check_uri(uri: str | None) -> None:
    """Raise UserError unless MLflow can use ``uri``, the value of ``tracking.uri``.

    Checks the text, the folder of a SQLite file and installed database drivers; contacts no server.
    """
    if uri is None:
        raise _refusal("null", "which names no store")
    uri = with_credentials(uri)
    shown = redact(uri)
    try:
        parts = urlsplit(uri)
        host = parts.hostname and (parts.port or True)
    except ValueError as error:
        raise _refusal(shown, f"which is not a URI ({error})") from None
    if parts.scheme == "sqlite":
        _check_sqlite(uri, parts)
    elif parts.scheme in ("http", "https") or parts.scheme in _DRIVERS:
        if not host:
            raise _refusal(shown, "which names no host")
        if parts.scheme not in _DRIVERS and (parts.fragment or parts.query):
            server = f"{parts.scheme}://{redact(parts.netloc)}{parts.path.rstrip('/')}"
            raise _refusal(shown, f"the address of a page; give the server alone, tracking.uri={server}")
        driver = _DRIVERS.get(parts.scheme)
        if driver and importlib.util.find_spec(driver) is None:
            raise UserError(f"tracking.uri is {shown}, which needs the Python package {driver}; it is not installed.")
    elif parts.scheme == "file":
        raise _refusal(shown, "but MLflow no longer keeps runs in folders of files")
    elif parts.scheme == "" or "://" not in uri:
        host_alone = re.fullmatch(r"[\w.-]+:\d+/*", uri)
        raise _refusal(shown, f"which has no scheme{f'; give tracking.uri=http://{shown}' if host_alone else ''}")
    else:
        raise _refusal(shown, f"with the unknown scheme {parts.scheme}:")


def _refusal(shown: str, problem: str) -> UserError:
    return UserError(f"tracking.uri is {shown}, {problem}. Allowed: {ALLOWED}; tracking=none works without MLflow.")


def _check_sqlite(uri: str, parts: SplitResult) -> None:
    if parts.netloc:
        raise _refusal(uri, "with two slashes instead of three")
    if "?" in uri:
        raise _refusal(uri, "with options after the ?, which are not supported")
    file = sqlite_file(uri)
    if file is None or file.name == ":memory:" or uri[len(SQLITE) :] in ("", "/"):
        raise _refusal(uri, "which names no file")
    if file.is_dir():
        raise _refusal(uri, "which is a folder")
    folder = next(parent for parent in file.parents if parent.exists())
    if not folder.is_dir() or not os.access(file if file.exists() else folder, os.W_OK):
        raise UserError(f"tracking.uri is {uri}, but {file} cannot be written. Give a file in a writable folder.")


def sqlite_file(uri: str) -> Path | None:
    """The absolute path of a SQLite URI's file; None for other stores.

    Read as SQLAlchemy and ``mlflow ui`` do: ``%23`` is a ``#``, and so is a bare ``#``.
    """
    if not uri.lower().startswith(SQLITE):
        return None
    return Path(unquote(uri[len(SQLITE) :].partition("?")[0])).absolute()


def sqlite_uri(file: Path) -> str:
    """The URI of a SQLite file: the inverse of ``sqlite_file``, for any characters in the path.

    Only what would be misread is escaped: MLflow creates the parent folder with the unescaped letters of the URI.
    """
    return SQLITE + str(file).replace("%", "%25").replace("?", "%3F")


def artifact_location(folder: Path) -> str:
    """A folder as MLflow stores it: the path itself, or a ``file:`` URI if MLflow would misread the path."""
    return str(folder) if quote(str(folder)) == str(folder) else folder.as_uri()


def anchored(uri: str, folder: Path) -> str:
    """``uri`` with the path of a SQLite file made absolute, relative to ``folder``; others are unchanged."""
    if sqlite_file(uri) is None:
        return uri
    return sqlite_uri(folder.absolute() / unquote(uri[len(SQLITE) :].partition("?")[0]))


def identity(uri: str) -> str:
    """The store of ``uri`` without credentials and driver, to compare two URIs."""
    file = sqlite_file(uri)
    if file is not None:
        return f"{SQLITE}{file}"
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{parts.scheme.partition('+')[0]}://{host}{parts.path.rstrip('/')}"


def ui_command(uri: str) -> str | None:
    """The command that shows a database in the browser; None for an MLflow server, which has its own page.

    One process without the services for language models, which starts in a third of the time. The user fills in the password
    of a database server.
    """
    if urlsplit(uri).scheme in ("http", "https"):
        return None
    return f"{UI_VARIABLE}=false mlflow ui --workers 1 --backend-store-uri {shlex.quote(redact(uri))}"


def ui_url(uri: str) -> str:
    """The address of a store's UI; for a database that of ``mlflow ui`` with its defaults."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return LOCAL_UI
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def experiment_id(experiment: str) -> str | None:
    """The number in ``id:5``; None for a name."""
    return experiment.removeprefix(EXPERIMENT_ID) if experiment.startswith(EXPERIMENT_ID) else None


def usable_experiment(name: str, stage: Callable[[str], str | None]) -> str:
    """``name``, or if that experiment was deleted the first of ``name-2``, ``name-3``, ... that was not.

    Restoring a deleted experiment would bring back all its runs, which somebody did not want any more. ``stage`` returns
    ``active`` or ``deleted`` for a name, or None if there is no such experiment.
    """
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(one for one in names if stage(one) != "deleted")


def artifact_folder(name: str) -> str:
    """The folder of an experiment's artifacts: its name, made safe for a file system."""
    folder = re.sub(r"[^\w.-]", "_", name)
    if len(folder.encode()) > _FOLDER or not folder.strip("."):
        folder = f"{folder[: _FOLDER // 4].strip('.')}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return folder


def run_url(uri: str, experiment_id: str, run_id: str) -> str:
    """The address of a run's page."""
    # Without the query the UI opens the run among the evaluations of language models.
    return f"{ui_url(uri)}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
