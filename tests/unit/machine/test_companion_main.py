"""The processes next to a run: their arguments, errors and signals."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

from deit.errors import UserError
from deit.machine import companion_main


@pytest.fixture(autouse=True)
def signals_and_logging_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    handlers = list(logging.getLogger().handlers)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    for added in logging.getLogger().handlers[:]:
        if added not in handlers:
            logging.getLogger().removeHandler(added)


class Companion:
    """Serves until it is asked to stop."""

    stopped = False

    def serve(self) -> None:
        signal.raise_signal(signal.SIGINT)
        assert self.stopped

    def stop(self, *_: object) -> None:
        self.stopped = True


def test_companion_serves_its_folder_until_a_signal(capsys: pytest.CaptureFixture[str]) -> None:
    folders: list[str] = []

    def make(folder: str) -> Companion:
        folders.append(folder)
        if folder == "wrong":
            raise UserError("wrong: not a run")
        return Companion()

    assert companion_main.serve("deit.x", make, ["run"]) == 0
    assert companion_main.serve("deit.x", make, ["wrong"]) == 2
    assert companion_main.serve("deit.x", make, []) == 2
    assert folders == ["run", "wrong"] and signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
    said = capsys.readouterr().err
    assert "wrong: not a run" in said and "usage: python -m deit.x FOLDER" in said
