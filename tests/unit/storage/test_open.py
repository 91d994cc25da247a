"""The store of an address."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from deit.errors import UserError
from deit.storage.open import open_store


def test_mistakes_and_missing_packages_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"data\.root"):
        open_store("s3://", "data.root")
    found = importlib.util.find_spec

    def without(name: str, *more: Any) -> Any:
        return None if name in ("s3fs", "moxing") else found(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(UserError, match=r"runs_dir=s3://bucket/x needs s3fs, which is not installed: .*storage"):
        open_store("s3://bucket/x", "runs_dir")
