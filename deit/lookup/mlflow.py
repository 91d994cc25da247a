"""From an MLflow run id, as copied from the UI, to the run directory."""

from __future__ import annotations

from pathlib import Path

from deit.errors import UserError
from deit.secrets import redact, with_credentials
from deit.tracking import describe
from deit.tracking import uri as store
from deit.tracking.mlflow_errors import Refused, RunGone, Unavailable


def find_run_directory(uri: str, run_id: str) -> Path:
    """The directory of the MLflow run ``run_id`` in the store at ``uri``. Takes seconds to import MLflow.

    Raises UserError if the store or the run is not found, if it is not a run of this program, or if its directory is not on
    this machine.
    """
    store.check_uri(uri)
    uri = with_credentials(uri)
    shown = redact(uri)
    database = store.sqlite_file(uri)
    if database is not None and not database.exists():  # a query would create it
        raise UserError(f"MLflow run {run_id}: tracking.uri is {shown}, but there is no such file.")
    from deit.tracking.remote import RemoteRun, connect

    try:
        tags = RemoteRun(connect(uri), uri, run_id).tags
    except (RunGone, Refused):
        raise UserError(f"MLflow run {run_id}: unknown to tracking.uri={shown}, or deleted there.") from None
    except Unavailable as error:
        reason = redact(str(error).splitlines()[0])
        raise UserError(f"MLflow run {run_id}: tracking.uri={shown} does not respond ({reason}).") from None
    directory = tags.get(describe.DIRECTORY_TAG)
    if directory is None:
        raise UserError(f"MLflow run {run_id}: has no tag {describe.DIRECTORY_TAG}, so it is not a run of this program.")
    if not Path(directory).is_dir():
        host = tags.get("host", "another machine")
        raise UserError(f"MLflow run {run_id}: its directory {directory} is not here. It ran on {host}.")
    return Path(directory)
