"""What a person sees of a run: a live panel on a terminal, plain lines elsewhere, the results at the end."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deit.config.schema import RunConfig
from deit.runs.directory import RunDirectory
from deit.runs.status import Status

HEADS = {"cls": "class", "dist": "distillation"}  # of a distilled model, by the end of their metrics' prefix
LABELS = {"val": "raw", "val_ema": "EMA"}
LABELS |= {f"{prefix}_{head}": f"{label}, {name} head" for prefix, label in LABELS.items() for head, name in HEADS.items()}


class Display:
    """Shows the progress of one run; a context manager, so that the terminal is always given back."""

    def __init__(self, run: RunDirectory, config: RunConfig, console: Console) -> None:
        self.console = console
        self._headline = f"{config.name}: {config.model.name} on {config.data.name}, {_hardware(config)}, {run}"
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._began: tuple[float, int] | None = None  # when and at which step the training was first seen
        self._shown: tuple[Any, ...] = ()
        self._introduced = False  # whether the teacher of a distillation was

    def __enter__(self) -> Display:
        self.console.print(self._headline, highlight=False, soft_wrap=True)
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def update(self, status: Status) -> None:
        """Show the newest progress."""
        progress = status.progress
        if self._began is None and progress.get("phase") == "training":
            self._began = (time.monotonic(), progress.get("step", 0))
        teacher = progress.get("teacher")
        if teacher and not self._introduced:
            self._introduced = True
            said = f"teacher: {teacher['description']}, top-1 {teacher['top1']:.2f} % on the validation images"
            self.console.print(said, highlight=False, soft_wrap=True, markup=False)
        if self._live:
            self._live.update(self._panel(progress))
        else:
            self._lines(progress)

    def _panel(self, progress: dict[str, Any]) -> Group:
        phase = progress.get("phase", "starting")
        if "steps" not in progress:
            return Group(Text(f"{phase} {_evaluated(progress)}"))
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            f"epoch {progress['epoch']}/{progress['epochs']}",
            ProgressBar(total=progress["steps"], completed=progress["step"], width=30),
            f"step {progress['step']}/{progress['steps']}",
            f"ETA {self._eta(progress)}",
            phase if phase == "training" else f"{phase} {_evaluated(progress)}",
        )
        return Group(bar, Text(_numbers(progress)), Text(_best(progress)))

    def _lines(self, progress: dict[str, Any]) -> None:
        """A line for each phase before the training, and one for each evaluation."""
        phase, last = progress.get("phase", "starting"), progress.get("last") or {}
        step = max((entry["step"] for entry in last.values()), default=0)
        key: tuple[Any, ...] = ("evaluated", step) if step else ("phase", phase)
        if key == self._shown or (step and phase != "training"):
            return
        self._shown = key
        if not step:
            self.console.print(phase, highlight=False)
            return
        accuracy = ", ".join(f"top-1 {entry['top1']:.2f} % {LABELS[prefix]}" for prefix, entry in last.items())
        epoch = max(entry["epoch"] for entry in last.values())
        self.console.print(
            f"epoch {epoch}/{progress['epochs']}  {_numbers(progress)}  {accuracy}  ETA {self._eta(progress)}",
            highlight=False,
            soft_wrap=True,
        )

    def _eta(self, progress: dict[str, Any]) -> str:
        if self._began is None or progress["step"] <= self._began[1]:
            return "-"
        seconds_a_step = (time.monotonic() - self._began[0]) / (progress["step"] - self._began[1])
        return duration(seconds_a_step * (progress["steps"] - progress["step"]))


def results_table(run: RunDirectory, results: dict[str, Any], task: str) -> Table:
    """Best results of a training, results of an evaluation, raw and EMA side by side, or the pictures of a preview."""
    if task == "preview":
        return _pictures(run, results)
    rows = results["best"] if task == "train" else results
    table = Table(title="best results" if task == "train" else "results", title_justify="left")
    for column in ("weights", "top-1 %", "top-5 %", "loss", "epoch" if task == "train" else "images"):
        table.add_column(column, justify="left" if column == "weights" else "right")
    for prefix, entry in rows.items():
        of = entry["epoch"] if task == "train" else entry["images"]
        table.add_row(LABELS[prefix], *_accuracy(entry), str(of))
    if "teacher" in results:
        table.add_row("teacher", *_accuracy(results["teacher"]), "-")
    return table


def _accuracy(entry: dict[str, Any]) -> tuple[str, str, str]:
    return f"{entry['top1']:.3f}", f"{entry['top5']:.3f}", f"{entry['loss']:.4f}"


def _pictures(run: RunDirectory, results: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False)
    for what, name in results.items():
        # Never broken over lines, so that a path can be copied.
        table.add_row(what, Text(f"{run}/{name}", no_wrap=True, overflow="ignore"))
    return table


def duration(seconds: float) -> str:
    """``1:02:03``, hours and more only where there are any."""
    if not math.isfinite(seconds):
        return "-"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return f"{days} d {clock}" if days else clock


def _hardware(config: RunConfig) -> str:
    machine = config.hardware
    cards = f"{machine.cards} x " if machine.cards > 1 else ""
    return f"{cards}{machine.target}" + (f" on each of {machine.nodes} machines" if machine.nodes > 1 else "")


def _numbers(progress: dict[str, Any]) -> str:
    parts = []
    if "loss" in progress:
        parts.append(f"loss {progress['loss']:.4f}")
    if "lr" in progress:
        parts.append(f"lr {progress['lr']:.2e}")
    if "images_per_s" in progress:
        parts.append(f"{progress['images_per_s']:,.0f} images/s")
        parts.append(f"data wait {100 * progress['data_wait']:.1f} %")
    return "  ".join(parts)


def _best(progress: dict[str, Any]) -> str:
    best = progress.get("best") or {}
    return "  ".join(
        f"best top-1 {entry['top1']:.2f} % {LABELS[prefix]} (epoch {entry['epoch']})" for prefix, entry in best.items()
    )


def _evaluated(progress: dict[str, Any]) -> str:
    if "evaluated" not in progress:
        return ""
    return f"{progress['evaluated']} images"
