"""The program's console: one for stdout, one for stderr.

What is printed is text, never rich's markup or emoji names: a path such as ``x[/y]`` or ``a:car:b`` stays as it is. Lines are
not broken, so that paths and commands can be copied. A run outlives its terminal: where stdout or stderr cannot be written
any more (a closed pipe, a full disk), that is said once and the program continues without it.
"""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import rich.console
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

WIDE = 128  # columns where there is no terminal to ask


@functools.cache
def console(*, stderr: bool = False) -> Console:
    """The console of stdout or stderr, whatever these are at the moment of a print."""
    return Console("stderr" if stderr else "stdout")


class Console(rich.console.Console):
    """``console()`` makes it."""

    def __init__(self, name: str, **settings: Any) -> None:
        stream: Any = _Stream(name)
        plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
        plain |= {"file": stream, "stderr": name == "stderr"}
        plain |= {"width": None if stream.isatty() else WIDE}  # COLUMNS would be that of a terminal
        super().__init__(**plain | settings)

    @property
    def redraws(self) -> bool:
        """Whether lines that are there can be drawn again: not in a pipe, not with TERM=dumb, whatever colours are forced."""
        return self.is_interactive and self.file.isatty()


class _Stream(io.TextIOBase):
    """stdout or stderr as they are now, behind whatever a live display has put before them; writing never fails."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def _target(self) -> TextIO:
        stream = getattr(sys, self._name) or _nowhere()  # Python has none where the file descriptor is closed
        target: TextIO = getattr(stream, "rich_proxied_file", stream)
        return target

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._target.encoding

    def isatty(self) -> bool:
        try:
            return self._target.isatty()
        except ValueError:  # closed
            return False

    def fileno(self) -> int:
        return self._target.fileno()

    def write(self, text: str) -> int:
        target = self._target
        try:
            target.write(text)
        except UnicodeEncodeError:
            target.write(text.encode(target.encoding, "backslashreplace").decode(target.encoding))
        except (OSError, ValueError) as error:
            self._lost(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._target.flush()
        except (OSError, ValueError) as error:
            self._lost(error)

    def _lost(self, error: Exception) -> None:
        """Send all that follows nowhere, also what Python itself flushes at its end."""
        try:
            os.dup2(_nowhere().fileno(), self.fileno())
        except (OSError, ValueError):
            return
        if self._name == "stdout":
            reason = getattr(error, "strerror", None) or str(error)
            console(stderr=True).print(f"warning: stdout cannot be written ({reason}); the program continues without it")


@functools.cache
def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def titled(title: str, rest: str = "") -> Text:
    """A line that begins with a bold title."""
    return Text.assemble((title, "bold"), rest)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show what is waited for, on a terminal alone, as long as the block takes."""
    with LiveArea(console()) as area:
        area.draw(Text(text))
        yield


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Show something; an error in that is said and ends nothing."""
    try:
        yield
    except Exception as error:
        console(stderr=True).print(f"warning: {what} cannot be shown ({type(error).__name__}: {error})", style="yellow")


class LiveArea:
    """The last lines of a terminal, drawn again in place; a context manager, so that the terminal is always given back.

    Where the console does not redraw, or drawing has failed once, ``on`` is False and nothing is drawn. No thread draws:
    an error appears where it can be caught.
    """

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console
        self._live: Live | None = None
        if isinstance(console, Console) and console.redraws:
            self._live = Live(console=console, auto_refresh=False, transient=True)

    @property
    def on(self) -> bool:
        return self._live is not None

    def __enter__(self) -> LiveArea:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def draw(self, content: RenderableType) -> None:
        """Replace what is shown. Where that fails, the area is given up and ``on`` becomes False."""
        if self._live is None:
            return
        try:
            self._live.update(content, refresh=True)
        except Exception as error:
            self.give_up(error)

    def give_up(self, error: Exception) -> None:
        """Return to plain lines, and say so."""
        live, self._live = self._live, None
        if live is None:
            return
        with harmless("the end of the live display"):
            live.update("")
            live.stop()
        self._console.print(
            f"warning: the live display failed ({type(error).__name__}: {error}); plain lines follow", style="yellow"
        )
