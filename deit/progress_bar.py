"""Progress bars: images, shards, bytes, points, trials. Drawn only on a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from deit.console import LiveArea, console

REDRAW = 0.1  # seconds


class Bar:
    """One bar; its methods may be called from any thread, and never fail."""

    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def advance(self, count: int) -> None:
        self._bars.update(self._task, advance=count)

    def set(self, done: int, total: int | None) -> None:
        self._bars.update(self._task, completed=done, total=total)

    def note(self, text: str) -> None:
        """Show ``text`` after the bar."""
        self._bars.update(self._task, note=text)

    def close(self) -> None:
        """Remove the bar."""
        self._bars.close(self._task)


class Bars:
    """Several bars; created by ``progress_bars``."""

    def __init__(self, area: LiveArea, byte_sizes: bool) -> None:
        count: tuple[ProgressColumn, ...] = (MofNCompleteColumn(),)
        if byte_sizes:
            count = DownloadColumn(), TransferSpeedColumn()
        text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        note = TextColumn("{task.fields[note]}", markup=False)
        self._progress = Progress(text, BarColumn(), *count, TimeRemainingColumn(), note, auto_refresh=False)
        self._area = area
        self._lock = threading.Lock()
        self._next = 0.0

    def add(self, what: str, total: int | None, note: str = "") -> Bar:
        """A new bar; ``total`` is None while it is not known."""
        bar = Bar(self, self._progress.add_task(what, total=total, note=note))
        self._draw()
        return bar

    def update(self, task: TaskID, **values: object) -> None:
        """Change a bar; redrawn at most ten times a second."""
        if self._area.on:
            self._progress.update(task, **values)  # type: ignore[arg-type]
            self._draw()

    def close(self, task: TaskID) -> None:
        self._progress.remove_task(task)

    def _draw(self) -> None:
        with self._lock:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + REDRAW
            self._area.draw(self._progress.get_renderable())


@contextmanager
def progress_bars(*, byte_sizes: bool = False) -> Iterator[Bars]:
    """Bars while the block runs; they leave nothing on the screen. ``byte_sizes``: they count bytes."""
    with LiveArea(console()) as area:
        yield Bars(area, byte_sizes)


@contextmanager
def progress_bar(what: str, total: int | None = None) -> Iterator[Bar]:
    """A single bar while the block runs."""
    with progress_bars() as bars:
        yield bars.add(what, total)
