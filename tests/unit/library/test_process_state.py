"""What a model in a notebook leaves behind: nothing in the environment."""

from __future__ import annotations

import os

import pytest

from deit.library.process_state import environment_kept


def test_environment_is_restored_even_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    before = dict(os.environ)
    with pytest.raises(KeyError), environment_kept():
        os.environ["NEW"] = "x"
        os.environ["KEPT"] = "2"
        raise KeyError
    assert dict(os.environ) == before
