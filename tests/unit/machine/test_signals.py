"""Signals are recorded within a block, and end the process again after it."""

from __future__ import annotations

import os
import signal

import pytest

from deit.machine.signals import noted


def test_signals_are_recorded_and_former_handlers_restored() -> None:
    former = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ZeroDivisionError), noted() as numbers:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert numbers == [signal.SIGTERM, signal.SIGINT]
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == former
