"""Which failures of MLflow, a folder or an object store a later attempt could fix."""

from __future__ import annotations

import errno
import socket
import ssl
from types import SimpleNamespace
from typing import Any

import pytest

from deit.tracking.mlflow_errors import permanent, reason


class Http(OSError):
    """As requests and botocore have it: the answer goes with the error."""

    def __init__(self, response: Any) -> None:
        super().__init__("answered")
        self.response = response


class NoCredentialsError(Exception):
    pass


def wrapped(cause: Exception) -> Exception:
    try:
        try:
            raise cause
        except Exception as error:
            raise RuntimeError("upload failed") from error
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "denied"),
        OSError(errno.EROFS, "read-only"),
        NotADirectoryError(errno.ENOTDIR, "a file"),
        ModuleNotFoundError("No module named 'boto3'"),
        NoCredentialsError("Unable to locate credentials"),
        wrapped(NoCredentialsError()),
        *(Http(SimpleNamespace(status_code=status)) for status in (400, 401, 403, 404, 405, 413, 501)),
        Http({"ResponseMetadata": {"HTTPStatusCode": 403}, "Error": {"Code": "AccessDenied"}}),
        wrapped(Http({"ResponseMetadata": {"HTTPStatusCode": 404}})),
    ],
    ids=repr,
)
def test_permanent_errors(error: Exception) -> None:
    assert permanent(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        TimeoutError(errno.ETIMEDOUT, "slow"),
        socket.gaierror(-2, "Name or service not known"),
        ssl.SSLError(1, "wrong version number"),
        *(Http(SimpleNamespace(status_code=status)) for status in (408, 409, 425, 429, 500, 502, 503, 504)),
        Http(None),
        wrapped(Http({"ResponseMetadata": {"HTTPStatusCode": 503}})),
    ],
    ids=repr,
)
def test_temporary_errors(error: Exception) -> None:
    assert not permanent(error)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "HTTPConnectionPool(host='h', port=9): Max retries exceeded (Caused by NewConnectionError(\"HTTPConnection("
            "host='h', port=9): Failed to establish a new connection: [Errno 111] Connection refused\"))",
            "[Errno 111] Connection refused",
        ),
        (
            "HTTPConnectionPool(host='x', port=1): Max retries exceeded (Caused by NameResolutionError(\"Failed to resolve 'x' "
            '([Errno -2] Name or service not known)"))',
            "[Errno -2] Name or service not known",
        ),
        (
            "pool: Max retries (Caused by ResponseError('too many 500 error responses'))",
            "ResponseError('too many 500 error responses')",
        ),
        ("Pool(host='h', port=9): Read timed out. (read timeout=1.0)",) * 2,
        ("('Connection aborted.', RemoteDisconnected('closed without response'))",) * 2,
        ("first\nsecond", "first"),
        ("", "ValueError"),
    ],
)
def test_the_cause_is_one_short_line(said: str, expected: str) -> None:
    assert reason(ValueError(said)) == expected
