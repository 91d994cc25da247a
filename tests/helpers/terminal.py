"""A person at a terminal: the command under a pty, and what the screen shows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pyte
from command import LAUNCH

PATIENCE = 900.0  # seconds for what takes some, on a machine that has other things to do


class Terminal:
    """``launch.py ARGUMENTS`` in a terminal of a size; a context manager that leaves no process behind."""

    def __init__(
        self, folder: Path, *arguments: str, columns: int = 80, lines: int = 24, environment: Mapping[str, str] | None = None
    ) -> None:
        self.raw = b""
        self._screen = pyte.HistoryScreen(columns, lines, history=10_000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self.code: int | None = None
        values = {**os.environ, "TERM": "xterm-256color", **(environment or {})}
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
            if name not in (environment or {}):
                values.pop(name, None)
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(sys.executable, [sys.executable, str(LAUNCH), *arguments], values)
        self.resize(columns, lines)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._master)

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size; the program gets SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen.resize(lines, columns)

    def type(self, keys: str) -> None:
        """Press keys; ``\\x03`` is Ctrl-C."""
        os.write(self._master, keys.encode())

    def until(self, shows: str | Callable[[str], bool]) -> str:
        """Read until the screen shows a text; returns the screen. Raises AssertionError if the program ends before."""
        wanted = (lambda screen: shows in screen) if isinstance(shows, str) else shows
        end = time.monotonic() + PATIENCE
        while not wanted(self.screen):
            assert time.monotonic() < end and self._read(), f"never shown: {shows}\n{self.everything}"
        return self.screen

    def finish(self) -> int:
        """Read to the end; returns the exit code."""
        end = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < end, self.everything
        _, code = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(code)
        return self.code

    @property
    def screen(self) -> str:
        """The lines on the screen now."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def everything(self) -> str:
        """The screen with all that one can scroll back to."""
        above = ("".join(line[x].data for x in range(self._screen.columns)).rstrip() for line in self._screen.history.top)
        return "\n".join([*above, self.screen])

    def _read(self) -> bool:
        """Read what has come; False at the end."""
        ready, _, _ = select.select([self._master], [], [], PATIENCE)
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the end, on Linux
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)
