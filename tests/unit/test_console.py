"""The console: text is printed literally, and a closed console does not end the program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from deit.console import Console, console
from deit.progress_bar import progress_bars
from deit.text import column

SAYS = """
from deit.console import console, waiting
from deit.progress_bar import progress_bar
console().print("before")
with progress_bar("images [/y]", 3) as bar:
    bar.advance(1)
for _ in range(3):
    console().print("é" * 10_000)
console(stderr=True).print("the end")
"""


@pytest.mark.parametrize("text", ["x[/y]", "[old] runs", "[bold]a[/]", ":smile: a:car:b", "[link=file:///]z"])
def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str], text: str) -> None:
    table = Table(text, title=text)
    table.add_row(text)
    console().print(text, table)
    console(stderr=True).print(text)
    with progress_bars() as bars:
        bars.add(text, 1).note(text)
    printed = capsys.readouterr()
    assert printed.out.count(text) == 4 and printed.err == f"{text}\n"


def test_a_long_line_is_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("a b " * 200)
    assert capsys.readouterr().out == "a b " * 200 + "\n"


def test_tables_are_wide_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")  # some libraries set it
    assert Console("stdout").width == 128


@pytest.mark.parametrize("way", ["full disk", "closed pipe", "closed", "ascii"])
@pytest.mark.process
def test_closed_stdout_does_not_end_the_run(tmp_path: Path, way: str) -> None:
    command, environment, said = f"{sys.executable} -c '{SAYS}'", dict(os.environ), 1
    if way == "full disk":
        command += " > /dev/full"
    elif way == "closed":
        command, said = command + " >&-", 0  # Python has no stdout from the start
    elif way == "ascii":
        environment["PYTHONIOENCODING"], said = "ascii", 0
    else:
        command, said = f"set -o pipefail; {command} | true", 0
    ended = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.endswith("the end\n") and ended.stderr.count("stdout cannot be written") == said
    if way == "ascii":
        assert ended.stdout.startswith("before\n\\xe9")


def test_columns_have_equal_decimals() -> None:
    assert column([71.0, 70.8333, None, float("nan")]) == ["71.000", "70.833", "-", "-"]
    assert column([3.0, 12.0]) == ["3", "12"] and column([]) == []
    assert column([0.00012, 0.1]) == ["1.200e-04", "1.000e-01"]
    assert column([0.0, 0.5]) == ["0.0000", "0.5000"] and column([2e9, 1.0]) == ["2.000e+09", "1.000e+00"]
