"""Credentials: no file, message or log contains them; the processes of a run get them in the environment."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from deit.errors import UserError

MASK = "***"  # replaces credentials
URI_VARIABLE = "DEIT_TRACKING_URI"  # the whole tracking URI, for the processes of a run
# What MLflow and its artifact stores read from the environment; never written to a file.
SECRETS = (
    URI_VARIABLE,
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
)
_URIS = (URI_VARIABLE, "MLFLOW_TRACKING_URI")  # only a part of these is secret


def set_aside(uri: str | None) -> str | None:
    """``uri`` without credentials, for a run directory.

    If it has some, the complete URI goes into the environment of this process and its children: the shipper, the trials of a
    sweep.
    """
    if uri is None or not _carries_secret(uri):
        return uri
    if MASK not in uri:
        os.environ[URI_VARIABLE] = uri
    return redact(uri)


def with_credentials(uri: str) -> str:
    """``uri`` with its credentials, if they were removed from it.

    They come from DEIT_TRACKING_URI or MLFLOW_TRACKING_URI; those of an MLflow server also from MLflow's own variables.
    Raises UserError if they are missing.
    """
    if MASK not in uri:
        return uri
    for whole in map(os.environ.get, _URIS):
        if whole is not None and redact(whole) == uri:
            return whole
    web = uri.startswith(("http://", "https://"))
    bare = uri.replace(f"{MASK}@", "", 1)
    own = "MLFLOW_TRACKING_TOKEN" in os.environ or {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"} <= set(os.environ)
    if web and own and MASK not in bare:
        return bare
    others = ", or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN" if web else ""
    raise UserError(
        f"tracking.uri is {uri}: run directories do not contain credentials. Give tracking.uri= again, or set "
        f"{URI_VARIABLE} to the complete URI{others}; tracking=none works without MLflow."
    )


def _carries_secret(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return True
    user = parts.netloc.rpartition("@")[0]
    # A lone name before the @ is a database user, but for a web server it may be a token.
    return ":" in user or (bool(user) and parts.scheme in ("http", "https")) or bool(_QUERY.search(uri))


_WORDS = "password|passwd|pwd|token|secret|api_?key|access_?key|signature|credential"
_QUERY = re.compile(rf"(?i)(?<=[?&])([\w.-]*(?:{_WORDS})[\w.-]*)=[^&\s'\"#]+")


def redact(text: str) -> str:
    """``text`` without the credentials of URIs in it, nor those in the environment."""
    # The password ends at the last @ before the path: it may contain an unquoted @.
    text = re.sub(r"(?<=://)[^\s/?#'\"]+@", f"{MASK}@", text)
    text = re.sub(r"(?<![\w/:])[\w.+-]+:[^\s/@'\"]+@(?=[\w.-])", f"{MASK}@", text)  # without a scheme
    text = _QUERY.sub(rf"\1={MASK}", text)
    text = re.sub(r"(?i)\b(password|passwd|token|secret)=[^&\s'\"]+", rf"\1={MASK}", text)
    for secret in _known_secrets():
        text = text.replace(secret, MASK)
    return text


def _known_secrets() -> list[str]:
    """Secret values of the environment, longest first, without those under six characters, which could match anywhere."""
    found = {os.environ.get(name, "") for name in SECRETS if name not in _URIS}
    for whole in (os.environ.get(name, "") for name in _URIS):
        user = re.search(r"(?<=://)[^\s/?#]+(?=@)", whole)
        if user:
            password = user[0].partition(":")[2] or user[0]
            found |= {password, unquote(password)}
        found |= {match[0].partition("=")[2] for match in _QUERY.finditer(whole)}
    return sorted((secret for secret in found if len(secret) >= 6), key=len, reverse=True)
