"""How a call to MLflow may fail, and which failures are permanent. Does not import MLflow, which takes seconds."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator

# Numbers of an OSError that mean: this path can never be written.
_NO_PLACE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG),
    *(errno.EINVAL, errno.ELOOP, errno.ENODEV, errno.ENXIO, errno.EFBIG, errno.ENOTSUP),
}
_TEMPORARY_STATUS = {408, 409, 425, 429}  # HTTP: timeout, conflict, too early, too many requests


class Refused(Exception):
    """MLflow will never take this."""


class RunGone(Exception):
    """The run was deleted in MLflow."""


class Unavailable(Exception):
    """MLflow is down, slow, locked or denies access: a later attempt may succeed."""


class Failing(Unavailable):
    """The server responds with status 500: its own artifact store is full, unreachable or lacks a package."""


def permanent(error: BaseException) -> bool:
    """Whether retrying is useless.

    So it is if access is denied, if the place does not exist or cannot be written, and if a Python package or a key is
    missing. Causes count too: the libraries of object stores wrap them. Neither MLflow nor those libraries are imported: an
    error is classified by its HTTP status, number or name.
    """
    return any(_permanent(cause) for cause in chain(error))


def _permanent(error: BaseException) -> bool:
    status = http_status(error)
    if status is not None:
        return (400 <= status < 500 and status not in _TEMPORARY_STATUS) or status == 501
    name = type(error).__name__
    if isinstance(error, ImportError) or "Credential" in name or name in ("ProfileNotFound", "NoRegionError"):
        return True
    if isinstance(error, socket.gaierror | ssl.SSLError):  # their numbers mean something else
        return False
    return isinstance(error, OSError) and error.errno in _NO_PLACE


def http_status(error: BaseException) -> int | None:
    """The HTTP status of an error of MLflow, requests or botocore; None if it has none."""
    if hasattr(error, "get_http_status_code"):  # MLflow: its own errors count as 500
        return int(error.get_http_status_code())
    response = getattr(error, "response", None)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
    status = status if status is not None else getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def reason(error: BaseException) -> str:
    """The cause in one line: requests puts it last, after the address and all layers."""
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    system = re.findall(r"\[Errno -?\d+\] [^'\")]+", line)
    _, caused, cause = line.rpartition("(Caused by ")
    return system[-1] if system else cause.removesuffix(")") if caused else line


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, and so on."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
