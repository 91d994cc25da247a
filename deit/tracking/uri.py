"""What a tracking URI says about itself, known without importing MLflow, which takes seconds.

Three kinds of store are allowed: a SQLite file, a database server and an MLflow server. MLflow itself would
take a URI without a scheme for a folder and fail much later, so a URI is judged before anything starts.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from deit.errors import UserError

ALLOWED = "sqlite:///FILE, http(s)://HOST:PORT, postgresql://USER@HOST/DATABASE, mysql://USER@HOST/DATABASE"
MASK = "***"  # in the place of credentials
URI_VARIABLE = "DEIT_TRACKING_URI"  # the whole tracking URI, for the processes of a run
# What MLflow and its artifact stores read from the environment, and no file may hold.
SECRETS = (
    URI_VARIABLE,
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
)
LOCAL_UI = "http://127.0.0.1:5000"  # where `mlflow ui` listens when nothing else is said

# The Python module a database URI needs: by the driver named behind the +, or SQLAlchemy's choice without one.
_DRIVERS = {
    "postgresql": "psycopg",
    "postgresql+psycopg": "psycopg",
    "postgresql+psycopg2": "psycopg2",
    "mysql": "MySQLdb",
    "mysql+mysqldb": "MySQLdb",
    "mysql+pymysql": "pymysql",
}


def check_uri(uri: str | None) -> None:
    """Raise UserError unless ``uri``, the value of ``tracking.uri``, is one MLflow can be reached by.

    Looks at the text, at the folder of a SQLite file and at installed database drivers; it asks no server.
    """
    if uri is None:
        raise _refusal("null", "which names no store")
    uri = with_credentials(uri)
    shown = redact(uri)
    try:
        parts = urlsplit(uri)
        host = parts.hostname and (parts.port or True)
    except ValueError as error:
        raise _refusal(shown, f"which is no URI ({error})") from None
    if parts.scheme == "sqlite":
        _check_sqlite(uri, parts)
    elif parts.scheme in ("http", "https") or parts.scheme in _DRIVERS:
        if not host:
            raise _refusal(shown, "which names no host")
        driver = _DRIVERS.get(parts.scheme)
        if driver and importlib.util.find_spec(driver) is None:
            raise UserError(f"tracking.uri is {shown}, which needs the Python package {driver}; it is not installed.")
    elif parts.scheme == "file":
        raise _refusal(shown, "but MLflow no longer keeps runs in folders of files")
    elif parts.scheme == "" or "://" not in uri:
        raise _refusal(shown, "which has no scheme")
    else:
        raise _refusal(shown, f"with the unknown scheme {parts.scheme}:")


def _refusal(shown: str, problem: str) -> UserError:
    return UserError(f"tracking.uri is {shown}, {problem}. Allowed: {ALLOWED}; tracking=none does without MLflow.")


def _check_sqlite(uri: str, parts: SplitResult) -> None:
    if parts.netloc:
        raise _refusal(uri, "with two slashes where three belong")
    if parts.query:
        raise _refusal(uri, "with options behind the ?, which nothing reads")
    file = sqlite_file(uri)
    if file is None or file.name == ":memory:" or parts.path in ("", "/"):
        raise _refusal(uri, "which names no file")
    if file.is_dir():
        raise _refusal(uri, "which is a folder")
    folder = next(parent for parent in file.parents if parent.exists())
    if not folder.is_dir() or not os.access(file if file.exists() else folder, os.W_OK):
        raise UserError(f"tracking.uri is {uri}, but {file} cannot be written. Give a file in a folder of yours.")


def sqlite_file(uri: str) -> Path | None:
    """The absolute path of a SQLite URI's file, seen from the working directory; None for other stores."""
    parts = urlsplit(uri)
    return Path(parts.path[1:]).absolute() if parts.scheme == "sqlite" else None


def anchored(uri: str, folder: Path) -> str:
    """``uri`` with the path of a SQLite file made absolute, as seen from ``folder``; any other as it is."""
    parts = urlsplit(uri)
    return f"sqlite:///{folder.absolute() / parts.path[1:]}" if parts.scheme == "sqlite" else uri


def identity(uri: str) -> str:
    """The store that ``uri`` means, without the credentials and the driver it is reached with: two are the same or not."""
    parts = urlsplit(anchored(uri, Path.cwd()))
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{parts.scheme.partition('+')[0]}://{host}{parts.path.rstrip('/')}"


def ui_command(uri: str) -> str | None:
    """The command that shows a database in the browser; None for an MLflow server, which shows itself.

    The password of a database server is left for the reader to fill in.
    """
    if urlsplit(uri).scheme in ("http", "https"):
        return None
    return f"mlflow ui --backend-store-uri {shlex.quote(redact(uri))}"


def ui_url(uri: str) -> str:
    """Where the UI of a store is; for a database that of a ``mlflow ui`` started with its defaults."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return LOCAL_UI
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def run_url(uri: str, experiment_id: str, run_id: str) -> str:
    """The address of a run's page."""
    # Without the query the UI opens the run among the evaluations of language models.
    return f"{ui_url(uri)}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def set_aside(uri: str | None) -> str | None:
    """``uri`` as a run directory may keep it: without credentials.

    Where it has some, the whole stands in the environment of this process from here on, and of those it starts: the shipper,
    the trials of a sweep.
    """
    if uri is None or not _carries_secret(uri):
        return uri
    if MASK not in uri:
        os.environ[URI_VARIABLE] = uri
    return redact(uri)


def with_credentials(uri: str) -> str:
    """The whole of ``uri``, a tracking.uri from which credentials may have been set aside, by this process or long ago.

    They are looked for in DEIT_TRACKING_URI; an MLflow server's may also be given as MLflow reads them itself. Raises UserError
    where they are lacking.
    """
    if MASK not in uri:
        return uri
    whole = os.environ.get(URI_VARIABLE)
    if whole is not None and redact(whole) == uri:
        return whole
    web = uri.startswith(("http://", "https://"))
    bare = uri.replace(f"{MASK}@", "", 1)
    own = "MLFLOW_TRACKING_TOKEN" in os.environ or {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"} <= set(os.environ)
    if web and own and MASK not in bare:
        return bare
    others = ", or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN" if web else ""
    raise UserError(
        f"tracking.uri is {uri}: its credentials are not kept in a run directory. Give tracking.uri= anew, or set "
        f"{URI_VARIABLE} to the whole of it{others}; tracking=none does without MLflow."
    )


def _carries_secret(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return True
    user = parts.netloc.rpartition("@")[0]
    # A lone name before the @ is the user of a database, but to a web server it may be a token.
    return ":" in user or (bool(user) and parts.scheme in ("http", "https")) or bool(_QUERY.search(uri))


_WORDS = "password|passwd|pwd|token|secret|api_?key|access_?key|signature|credential"
_QUERY = re.compile(rf"(?i)(?<=[?&])([\w.-]*(?:{_WORDS})[\w.-]*)=[^&\s'\"#]+")


def redact(text: str) -> str:
    """``text`` without the credentials of the URIs in it, nor those that stand in the environment."""
    # The password ends at the last @ before the path: an unquoted @ may stand within it.
    text = re.sub(r"(?<=://)[^\s/?#'\"]+@", f"{MASK}@", text)
    text = re.sub(r"(?<![\w/:])[\w.+-]+:[^\s/@'\"]+@(?=[\w.-])", f"{MASK}@", text)  # the scheme was forgotten
    text = _QUERY.sub(rf"\1={MASK}", text)
    text = re.sub(r"(?i)\b(password|passwd|token|secret)=[^&\s'\"]+", rf"\1={MASK}", text)
    for secret in _known_secrets():
        text = text.replace(secret, MASK)
    return text


def _known_secrets() -> list[str]:
    """Secret values of the environment, longest first; shorter ones than six characters would be found anywhere."""
    found = {os.environ.get(name, "") for name in SECRETS if name != URI_VARIABLE}
    whole = os.environ.get(URI_VARIABLE, "")
    user = re.search(r"(?<=://)[^\s/?#]+(?=@)", whole)
    if user:
        password = user[0].partition(":")[2] or user[0]
        found |= {password, unquote(password)}
    found |= {match[0].partition("=")[2] for match in _QUERY.finditer(whole)}
    return sorted((secret for secret in found if len(secret) >= 6), key=len, reverse=True)
