"""The display of a run: it shows whatever progress is known, and its errors never end the run."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from composition import freeze

from deit.console import Console
from deit.launching.display import Display
from deit.runs import directory, status

ENTRY = {"top1": 50.0, "top5": 90.0, "loss": 1.0, "step": 4, "epoch": 1}
WHOLE: dict[str, Any] = {
    "phase": "training",
    "epoch": 1,
    "epochs": 2,
    "step": 4,
    "steps": 8,
    "loss": 2.0,
    "lr": 1e-3,
    "images_per_s": 100.0,
    "data_wait": 0.5,
    "best": {"val": ENTRY},
    "last": {"val": ENTRY},
    "evaluated": 3,
    "images": 10,
    "expected_end": 1e12,
}


class Screen(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def shown(tmp_path: Path, *progress: dict[str, Any], terminal: bool, width: int = 80) -> str:
    screen = Screen(terminal)
    console = Console("stdout", file=screen, force_terminal=terminal, width=width, height=24)
    run = directory.create(tmp_path, "a")
    with Display(run, freeze("experiment=quickstart"), console) as display:
        for values in progress:
            display.update(status.Status(progress=values))
    return screen.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_display_works_without_any_progress_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setenv("TERM", "xterm")
    leaving_out = itertools.chain(itertools.combinations(WHOLE, 1), itertools.combinations(WHOLE, 2), [tuple(WHOLE)])
    parts = [{key: value for key, value in WHOLE.items() if key not in missing} for missing in leaving_out]
    text = shown(tmp_path, *parts, terminal=terminal)
    assert "warning" not in text and ("step 4/8" in text) == terminal
    assert text.count("epoch 1/2  loss") == 1  # the line of the evaluation stays


@pytest.mark.parametrize("terminal", [True, False])
def test_display_error_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setenv("TERM", "xterm")
    broken = [WHOLE | {"last": {}, "steps": "many"}, WHOLE | {"last": {"val": {}}}, WHOLE | {"notices": 3}, WHOLE]
    text = shown(tmp_path, *broken, *broken, terminal=terminal)
    assert text.count("the live display failed") == terminal
    assert text.count("cannot show the progress") == 1 and text.count("the run continues") == 1


def test_display_prints_lines_without_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    text = shown(tmp_path, {"phase": "compiling"}, WHOLE, terminal=True)
    assert "\ncompiling\n" in text and "\nepoch 1/2  loss 2.0000" in text and "\x1b" not in text


def test_the_panel_fits_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    long = WHOLE | {"last": {}, "epochs": 300, "step": 123_456, "steps": 375_300, "phase": "evaluating EMA"}
    text = shown(tmp_path, long, terminal=True, width=60)
    _, *panel = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).splitlines()  # below the headline
    assert "123456/375300" in text and "…" in text and all(len(line) <= 60 for line in panel)
