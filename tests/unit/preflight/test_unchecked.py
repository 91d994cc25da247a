"""What a dry run could not check is listed once, in order."""

from __future__ import annotations

import pytest

from deit.preflight import unchecked


def test_each_line_is_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchecked, "_lines", [])
    for text in ("data.root: first", "tracking.uri: second", "data.root: first"):
        unchecked.unchecked(text)
    assert unchecked.lines() == ["data.root: first", "tracking.uri: second"]
