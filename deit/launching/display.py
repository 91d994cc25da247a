"""The terminal output of a run: a live panel, permanent lines, the results at the end.

If the display fails, the run continues: the live panel is replaced by plain lines, and these by nothing, each with one warning.
"""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from deit.config.schema import RunConfig
from deit.config.tasks import InferenceTask
from deit.console import LiveArea
from deit.runs.directory import RunDirectory
from deit.runs.status import Status
from deit.scores import LABELS
from deit.text import duration

NUMBERS = {"loss": "loss {:.4f}", "lr": "lr {:.2e}", "images_per_s": "{:,.0f} images/s"}


class Display(LiveArea):
    """Shows the progress of one run."""

    def __init__(self, run: RunDirectory, config: RunConfig, console: Console) -> None:
        super().__init__(console)
        on = config.task.input if isinstance(config.task, InferenceTask) else config.data.name
        self._headline = f"{config.name}: {config.model.name} on {on}, {_hardware(config)}, {run}"
        self._mute = False
        self._phase: str | None = None  # the last one that was printed
        self._evaluated = 0  # step of the last evaluation that was printed
        self._introduced = False  # whether the teacher of a distillation was printed
        self._noticed = 0  # number of the run's warnings that were printed

    def __enter__(self) -> Display:
        self._console.print(self._headline)
        super().__enter__()
        return self

    def update(self, status: Status) -> None:
        """Show the newest progress; never raises."""
        if self._mute:
            return
        try:
            self._update(status.progress)
        except Exception as error:
            if self.on:
                self.give_up(error)
            else:
                self._mute = True
                said = f"warning: cannot show the progress ({type(error).__name__}: {error}); the run continues"
                self._console.print(said, style="yellow")

    def _update(self, progress: dict[str, Any]) -> None:
        teacher = progress.get("teacher")
        if teacher and not self._introduced:
            self._introduced = True
            self._console.print(f"teacher: {teacher['description']}, top-1 {teacher['top1']:.2f} % on the validation images")
        notices = progress.get("notices", [])
        for notice in notices[self._noticed :]:
            self._console.print(f"warning: {notice}", style="yellow")
        self._noticed = len(notices)
        self._lines(progress)
        if self.on:
            self.draw(_panel(progress))

    def _lines(self, progress: dict[str, Any]) -> None:
        """A line for each phase before the training, if no panel shows it, and one for each evaluation."""
        phase, last = progress.get("phase", "starting"), progress.get("last") or {}
        step = max((entry["step"] for entry in last.values()), default=0)
        if not step:
            if phase != self._phase and not self.on:
                self._console.print(phase)
            self._phase = phase
        elif step != self._evaluated and phase == "training":
            self._evaluated = step
            accuracy = ", ".join(f"top-1 {entry['top1']:.2f} % {LABELS[prefix]}" for prefix, entry in last.items())
            epoch = f"epoch {max(entry['epoch'] for entry in last.values())}/{progress.get('epochs', '?')}"
            self._console.print("  ".join([epoch, *_numbers(progress), accuracy, f"ETA {eta(progress)}"]))


def _panel(progress: dict[str, Any]) -> Group:
    """Lines that fit any width: long ones end in an ellipsis, and the bar takes the remaining width."""
    phase = progress.get("phase", "starting")
    doing = f"{phase} {_evaluated(progress)}".strip()
    if "steps" not in progress:
        return Group(_line(doing))
    step, steps = progress.get("step", 0), progress["steps"]
    bar = Table.grid(
        *(Column(no_wrap=True), Column(ratio=1, max_width=30), Column(no_wrap=True), Column(no_wrap=True)),
        padding=(0, 1),
        expand=True,
    )
    bar.add_row(
        f"epoch {progress.get('epoch', '?')}/{progress.get('epochs', '?')}",
        ProgressBar(total=steps, completed=step),
        f"step {step}/{steps}",
        f"ETA {eta(progress)}",
    )
    return Group(bar, _line("  ".join([doing, *_numbers(progress)])), _line(_best(progress)))


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def eta(progress: dict[str, Any]) -> str:
    """The remaining time of a training, as its worker estimates it; ``-`` if unknown."""
    return duration(max(0.0, progress["expected_end"] - time.time())) if progress.get("expected_end") else "-"


def lines_of(rows: list[tuple[str, str]]) -> Text:
    """Two columns, without wrapping or cutting lines, so that a path can be copied."""
    width = 3 + max(len(what) for what, _ in rows)
    return Text("\n".join(f"{what:<{width}}{said}" for what, said in rows))


def _hardware(config: RunConfig) -> str:
    machine = config.hardware
    cards = f"{machine.cards} x " if machine.cards > 1 else ""
    return f"{cards}{machine.target}" + (f" on each of {machine.nodes} machines" if machine.nodes > 1 else "")


def _numbers(progress: dict[str, Any]) -> list[str]:
    parts = [form.format(progress[name]) for name, form in NUMBERS.items() if name in progress]
    return parts + ([f"data wait {100 * progress['data_wait']:.1f} %"] if "data_wait" in progress else [])


def _best(progress: dict[str, Any]) -> str:
    best = progress.get("best") or {}
    return "  ".join(
        f"best top-1 {entry['top1']:.2f} % {LABELS[prefix]} (epoch {entry['epoch']})" for prefix, entry in best.items()
    )


def _evaluated(progress: dict[str, Any]) -> str:
    if "evaluated" not in progress:
        return ""
    of = f" of {progress['images']}" if "images" in progress else ""
    return f"{progress['evaluated']}{of} images"
