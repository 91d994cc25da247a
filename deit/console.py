"""The program's console: one for stdout, one for stderr.

Output is plain text without rich's markup or emoji names: a path such as ``x[/y]`` or ``a:car:b`` is printed as it is. Lines
are not wrapped, so that paths and commands can be copied. A run outlives its terminal: if stdout or stderr becomes unwritable
(a closed pipe, a full disk), one warning is printed and the program continues without it.
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

WIDE = 128  # columns if stdout is no terminal


@functools.cache
def console(*, stderr: bool = False) -> Console:
    """The console of the current stdout or stderr."""
    return Console("stderr" if stderr else "stdout")


class Console(rich.console.Console):
    """Created by ``console()``."""

    def __init__(self, name: str, **settings: Any) -> None:
        stream: Any = _Stream(name)
        plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
        plain |= {"file": stream, "stderr": name == "stderr"}
        plain |= {"width": None if stream.isatty() else WIDE}  # COLUMNS would be that of a terminal
        super().__init__(**plain | settings)

    @property
    def redraws(self) -> bool:
        """Whether printed lines can be redrawn: not in a pipe, not with TERM=dumb, even if colours are forced."""
        return self.is_interactive and self.file.isatty()


class _Stream(io.TextIOBase):
    """The current stdout or stderr, below any live display; writing never fails."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def _target(self) -> TextIO:
        stream = getattr(sys, self._name) or _nowhere()  # None if the file descriptor is closed
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
        """Discard all further output, also what Python itself flushes at exit."""
        try:
            os.dup2(_nowhere().fileno(), self.fileno())
        except (OSError, ValueError):
            return
        if self._name == "stdout" and not isinstance(error, BrokenPipeError):  # a reader such as `head` has seen enough
            reason = getattr(error, "strerror", None) or str(error)
            console(stderr=True).print(f"warning: stdout cannot be written ({reason}); the program continues without it")


@functools.cache
def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def titled(title: str, rest: str = "") -> Text:
    """A line with a bold title."""
    return Text.assemble((title, "bold"), rest)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show ``text`` while the block runs, only on a terminal."""
    with LiveArea(console()) as area:
        area.draw(Text(text))
        yield


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Show something; an error only causes a warning."""
    try:
        yield
    except Exception as error:
        console(stderr=True).print(f"warning: cannot show {what} ({type(error).__name__}: {error})", style="yellow")


class LiveArea:
    """The last lines of a terminal, redrawn in place; a context manager, so that the terminal is always restored.

    If the console cannot redraw, or drawing has failed once, ``on`` is False and nothing is drawn. It uses no thread, so
    errors can be caught.
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
        """Replace the content. After an error the area is off."""
        if self._live is None:
            return
        try:
            self._live.update(content, refresh=True)
        except Exception as error:
            self.give_up(error)

    def give_up(self, error: Exception) -> None:
        """Return to plain lines, with a warning."""
        live, self._live = self._live, None
        if live is None:
            return
        with harmless("the end of the live display"):
            live.update("")
            live.stop()
        self._console.print(
            f"warning: the live display failed ({type(error).__name__}: {error}); plain lines follow", style="yellow"
        )
