"""One file over HTTPS: resumed where it stopped, and complete before it gets its name.

NAME.part        the bytes so far
NAME.part.tag    the server's mark of that version (ETag), without which a resume would mix two versions
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deit.errors import UserError
from deit.files import free_below
from deit.text import byte_size

TIMEOUT = 60.0  # seconds without a byte
ATTEMPTS = 5  # in a row that bring nothing
PAUSE = 1.0  # seconds before the second attempt, doubled each time
_BLOCK = 1 << 20
_HERE = ("localhost", "127.0.0.1", "::1")
_AGAIN = (408, 425, 429, 500, 502, 503, 504)

Progress = Callable[[int, "int | None"], None]  # bytes so far, and of all, if known


class Unreachable(Exception):
    """There is no network, or no such server; the message says which."""


def check_address(url: str, key: str) -> None:
    """Raises UserError unless it is an https:// address, or one of this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise UserError(f"{key} is {url}; allowed: an https:// address, for http:// of this machine alone.")


def download(url: str, target: Path, progress: Progress) -> Path:
    """Bring ``url`` to ``target``'s part, complete but not checked; returns its path, whose name the caller changes.

    A connection that breaks is opened again and resumed. Raises Unreachable before the first byte, and UserError (exit code 1)
    if the server has no such file, it breaks too often, or the disk is full; the part is kept, and a later call resumes it.
    """
    part = target.with_name(f"{target.name}.part")
    failed, reason, reached = 0, "", False
    while failed < ATTEMPTS:
        if failed:
            time.sleep(PAUSE * 2 ** (failed - 1))
        before = part.stat().st_size if part.exists() else 0
        try:
            if _attempt(url, part, progress):
                return part
            reason = "the connection ended before the file"
        except urllib.error.HTTPError as error:
            reached, reason = True, f"it answers {error.code} {error.reason}"
            if error.code not in _AGAIN:
                raise UserError(f"{url}: {reason}.", exit_code=1) from None
        except urllib.error.URLError as error:
            reason = _told(error.reason)
            if not reached and not before:
                raise Unreachable(reason) from None
        except (OSError, http.client.HTTPException) as error:
            reason = _told(error)
        reached = True
        grown = part.exists() and part.stat().st_size > before
        failed = 1 if grown else failed + 1
    size = part.stat().st_size if part.exists() else 0
    kept = f" {byte_size(size)} are kept in {part}; the same command resumes." if size else ""
    raise UserError(f"{url}: not complete after {ATTEMPTS} attempts ({reason}).{kept}", exit_code=1)


def remove_part(target: Path) -> None:
    """Remove what a failed download left."""
    for name in (f"{target.name}.part", f"{target.name}.part.tag"):
        target.with_name(name).unlink(missing_ok=True)


def _attempt(url: str, part: Path, progress: Progress) -> bool:
    """One connection; returns whether the part is complete now."""
    tag_file = part.with_name(f"{part.name}.tag")
    start = part.stat().st_size if part.exists() else 0
    tag = tag_file.read_text(encoding="utf-8") if start and tag_file.exists() else ""
    headers = {"User-Agent": "deit-mindspore", "Accept-Encoding": "identity"}
    headers |= {"Range": f"bytes={start}-", "If-Range": tag} if tag else {}
    try:
        response = urllib.request.build_opener(_Redirects).open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        part.unlink()  # longer than the file
        return False
    with response:
        there = str(response.headers.get("Content-Range", ""))
        resumed = response.status == http.client.PARTIAL_CONTENT and there.startswith(f"bytes {start}-")
        start = start if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None and length.isdigit() else None
        _check_room(part, (total or 0) - start)
        with _disk(part):
            if not resumed:
                tag_file.unlink(missing_ok=True)
            with open(part, "ab" if resumed else "wb") as file:
                if not resumed and (tag := _tag(response)):
                    tag_file.write_text(tag, encoding="utf-8")
                return _receive(response, file, start, total, progress)


def _receive(response: Any, file: Any, done: int, total: int | None, progress: Progress) -> bool:
    progress(done, total)
    try:
        while block := response.read(_BLOCK):
            file.write(block)
            done += len(block)
            progress(done, total)
    except http.client.IncompleteRead as error:
        file.write(error.partial)
        return False
    finally:
        file.flush()
        os.fsync(file.fileno())
    return total is None or done == total


def _tag(response: Any) -> str:
    """A mark that changes with the content, as RFC 9110 allows it in If-Range; empty if the server gives none."""
    tag = str(response.headers.get("ETag") or "")
    return tag if tag.startswith('"') else ""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_address(newurl, f"the redirect of {req.full_url}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _told(error: object) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; the variable SSL_CERT_FILE names other authorities"
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _check_room(part: Path, needed: int) -> None:
    free = free_below(part.parent)
    if free < needed:
        raise UserError(f"{part.parent}: {byte_size(free)} are free, but the file needs {byte_size(needed)} more.", exit_code=1)


@contextlib.contextmanager
def _disk(part: Path) -> Iterator[None]:
    """An error of the disk is no error of the connection."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"{part}: cannot be written ({error.strerror}).", exit_code=1) from None
