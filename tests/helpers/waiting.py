"""Wait for an event, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

Found = TypeVar("Found")


def until(condition: Callable[[], Found], otherwise: str | Callable[[], str] = "", *, seconds: float = 900.0) -> Found:
    """The first true result of ``condition``; the test fails with ``otherwise`` if there is none for so long."""
    begun = asked = time.monotonic()
    while not (found := condition()):
        now = time.monotonic()
        if now > begun + seconds:
            pytest.fail(f"waited {seconds:.0f} s: {otherwise() if callable(otherwise) else otherwise or 'no result'}")
        time.sleep(max(0.02, 2 * (now - asked)))  # asking a server must not slow what is waited for
        asked = time.monotonic()
    return found
