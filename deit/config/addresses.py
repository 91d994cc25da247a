"""Object-store addresses, ``s3://bucket/path`` and ``obs://bucket/path``, and the local paths of their copies.

Nothing here contacts a store. A path depends only on the address, so control side and workers find the same copy.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from deit.errors import UserError

SCHEMES = ("s3", "obs")
CACHE_VARIABLE = "DEIT_CACHE"
COMPLETE = "complete.json"  # next to a complete copy of data


def is_remote(text: str | None) -> bool:
    """Whether ``text`` is an address in an object store, valid or not."""
    return text is not None and text.partition("://")[0] in SCHEMES and "://" in text


def problem(text: str) -> str | None:
    """What is wrong with an address, without repeating a secret; None if it is valid."""
    rest = text.partition("://")[2]
    bucket, _, path = rest.partition("/")
    if "@" in bucket or ":" in bucket:
        return "contains credentials or a port, but an address is s3://BUCKET/PATH; keys belong in the environment"
    if "?" in rest or "#" in rest:
        return "has options after ? or #, which are not supported; use s3://BUCKET/PATH"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]+", bucket):
        return "has no bucket; use s3://BUCKET/PATH"
    if any(part in ("", ".", "..") for part in path.rstrip("/").split("/") if path):
        return "has an empty part, `.` or `..` in its path"
    return None


def split(address: str) -> tuple[str, str]:
    """(bucket, path without leading and trailing slashes) of a valid address."""
    bucket, _, path = address.partition("://")[2].partition("/")
    return bucket, path.strip("/")


def cache_folder(cache_dir: str | None = None) -> Path:
    """The folder of local copies: ``cache_dir``, else $DEIT_CACHE, else the user's cache folder."""
    folder = cache_dir or os.environ.get(CACHE_VARIABLE)
    if folder:
        return expanded(folder).absolute()
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache", f"; or give ${CACHE_VARIABLE}").absolute() / "deit"


def expanded(text: str, instead: str = "") -> Path:
    """A path with a leading ``~`` expanded.

    Raises UserError if the home folder is unknown: a container may run as a user without HOME and without a passwd entry.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(
            f"{text}: the home folder is unknown, because HOME is not set or the user has no entry in /etc/passwd; set HOME, "
            f"or use a path without ~{instead}."
        ) from None


def data_copy(root: str, cache_dir: str | None) -> Path:
    """Path of the local copy of ``data.root``, a folder or a file; the folder around it holds its bookkeeping files."""
    bucket, path = split(root)
    name = path.rpartition("/")[2] or bucket
    digest = hashlib.sha256(f"{root.partition('://')[0]}://{bucket}/{path}".encode()).hexdigest()[:10]
    return cache_folder(cache_dir) / "data" / f"{bucket}-{name}-{digest}" / name


def runs_copy(runs_dir: str) -> str:
    """The folder of runs on this machine: ``runs_dir`` itself, or the local working copy of a remote one."""
    if not is_remote(runs_dir):
        return runs_dir
    bucket, path = split(runs_dir)
    return str(cache_folder() / "runs" / runs_dir.partition("://")[0] / bucket / path)
