"""Wait for an event, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

Found = TypeVar("Found")


def until(condition: Callable[[], Found], otherwise: str | Callable[[], str] = "", *, seconds: float = 900.0) -> Found:
    """The first true result of ``condition``; the test fails with ``otherwise`` if there is none for so long."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:.0f} s: {otherwise() if callable(otherwise) else otherwise or 'no result'}")
        time.sleep(0.02)
    return found
