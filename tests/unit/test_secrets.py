"""Credentials in addresses: moved into the environment, and masked in every text."""

from __future__ import annotations

import os

import pytest

from deit.errors import UserError
from deit.secrets import URI_VARIABLE, redact, set_aside, with_credentials
from deit.tracking import uri as store

SECRET = "pa55w0rd-of-me"


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("http://node01:5000", "http://node01:5000"),
        ("postgresql://me@db/mlflow", "postgresql://me@db/mlflow"),
        (f"postgresql://me:{SECRET}@db/mlflow", "postgresql://***@db/mlflow"),
        (f"https://me:{SECRET}@node01/ml", "https://***@node01/ml"),
        (f"https://{SECRET}@node01/ml", "https://***@node01/ml"),
        (f"https://node01/ml?access_token={SECRET}&a=1", "https://node01/ml?access_token=***&a=1"),
    ],
)
def test_credentials_move_into_the_environment(uri: str, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URI_VARIABLE, "http://other")
    assert set_aside(uri) == kept and with_credentials(kept) == uri
    assert (os.environ[URI_VARIABLE] == uri) is (kept != uri)
    assert set_aside(kept) == kept and with_credentials(kept) == uri  # a second time changes nothing
    assert SECRET not in redact(f"while asking {uri} (password {SECRET})") or kept == uri


def test_missing_credentials_are_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URI_VARIABLE, raising=False)
    with pytest.raises(
        UserError, match=r"run directories do not contain credentials.*DEIT_TRACKING_URI.*MLFLOW_TRACKING_TOKEN"
    ):
        store.check_uri("https://***@node01")
    with pytest.raises(UserError, match=r"set DEIT_TRACKING_URI to the complete URI; tracking=none"):
        store.check_uri("postgresql://***@db/mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    assert with_credentials("https://***@node01/ml") == "https://node01/ml"
    assert redact(f"sent {SECRET}") == "sent ***"


def test_configuration_keys_are_not_masked_as_secrets() -> None:
    for text in ("optim.decay_dist_token=true", "data.root=/a:b/c", "-m model=deit_tiny,deit_small", "hydra/launcher=cards"):
        assert redact(text) == text
