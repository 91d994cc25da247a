"""What a person sees of a run: a live panel on a terminal, plain lines elsewhere, the results at the end."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deit.config.schema import RunConfig
from deit.config.tasks import InferenceTask
from deit.runs.bad_images import listed
from deit.runs.directory import RunDirectory, shown
from deit.runs.status import Status
from deit.text import duration

HEADS = {"cls": "class", "dist": "distillation"}  # of a distilled model, by the end of their metrics' prefix
NAMED = 10  # most unreadable images that are named on the screen
LABELS = {"val": "raw", "val_ema": "EMA"}
LABELS |= {f"{prefix}_{head}": f"{label}, {name} head" for prefix, label in LABELS.items() for head, name in HEADS.items()}


class Display:
    """Shows the progress of one run; a context manager, so that the terminal is always given back."""

    def __init__(self, run: RunDirectory, config: RunConfig, console: Console) -> None:
        self.console = console
        on = config.task.input if isinstance(config.task, InferenceTask) else config.data.name
        self._headline = f"{config.name}: {config.model.name} on {on}, {_hardware(config)}, {run}"
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._began: tuple[float, int] | None = None  # when and at which step the training was first seen
        self._shown: tuple[Any, ...] = ()
        self._introduced = False  # whether the teacher of a distillation was
        self._noticed = 0  # how many of the run's warnings were shown

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
        notices = progress.get("notices", [])
        for notice in notices[self._noticed :]:
            self.console.print(f"warning: {notice}", style="yellow", highlight=False, soft_wrap=True, markup=False)
        self._noticed = len(notices)
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


def results_table(run: RunDirectory, results: dict[str, Any], task: str) -> Table | Text:
    """Best results of a training, results of an evaluation, raw and EMA side by side, pictures, an export, or predictions."""
    if task == "preview":
        return _pictures(run, results)
    if task == "export":
        return _export(results)
    if task in ("predict", "postprocess", "explain"):
        return _inference(run, results)
    rows = results["best"] if task == "train" else results
    table = Table(title="best results" if task == "train" else "results", title_justify="left")
    for column in ("weights", "top-1 %", "top-5 %", "loss", "epoch" if task == "train" else "images"):
        table.add_column(column, justify="left" if column == "weights" else "right")
    for prefix, entry in rows.items():
        of = entry["epoch"] if task == "train" else entry["images"]
        table.add_row(LABELS[prefix], *_accuracy(entry), str(of))
    if "teacher" in results:
        table.add_row("teacher", *_accuracy(results["teacher"]), "-")
    bad = listed(run.bad_images)
    if bad:
        table.caption_justify = "left"
        table.caption = f"{bad} bad image{'s' if bad > 1 else ''} left out: {run.bad_images.name}"
    return table


def _accuracy(entry: dict[str, Any]) -> tuple[str, str, str]:
    return f"{entry['top1']:.3f}", f"{entry['top5']:.3f}", f"{entry['loss']:.4f}"


def _pictures(run: RunDirectory, results: dict[str, Any]) -> Text:
    return lines_of([(what, f"{run}/{name}") for what, name in results.items()])


def lines_of(rows: list[tuple[str, str]]) -> Text:
    """What and what is said of it, side by side; no line is broken or cut, so that a path can be copied."""
    width = 3 + max(len(what) for what, _ in rows)
    return Text("\n".join(f"{what:<{width}}{said}" for what, said in rows))


def _inference(run: RunDirectory, results: dict[str, Any]) -> Text:
    """What was found of images that a person gave: predictions and their accuracy, or pictures."""
    rows = [("attention", f"{run}/{name}") for name in results.get("pictures", ())]
    if "images" in results:
        rows.append(("images", f"{results['images']:,}"))
    rows += [("", f"{shown(name)}: {what}") for name, what in results.get("said", {}).items()]
    unreadable = results["unreadable"]
    rows += [("left out", reason) for reason in unreadable[:NAMED]]
    if len(unreadable) > NAMED:
        rows.append(("left out", f"and {len(unreadable) - NAMED:,} more"))
    rows += [(f"top-{metric[-1]}", f"{results[metric]:.3f} %") for metric in ("top1", "top5") if metric in results]
    if "remark" in results:
        rows.append(("accuracy", results["remark"]))
    if results.get("warm"):
        speed = f"{results['ms_per_image']:.2f} ms an image, {results['images_per_s']:,.0f} images/s with reading"
        rows.append(("speed", speed))
    elif "ms_per_image" in results:
        seconds = results["ms_per_image"] * results["images"] / 1000
        rows.append(("speed", f"not measured: one batch, {seconds:.1f} s with its compilation"))
    if "predictions" in results:
        rows.append(("predictions", shown(results["predictions"])))
    rows += [("accuracy" if number == 0 else "", f"{run}/{name}") for number, name in enumerate(results.get("accuracy", ()))]
    return lines_of(rows)


def _export(results: dict[str, Any]) -> Text:
    made = results["description"]
    taken, run, metrics, checked = (made[key] for key in ("input", "run", "metrics", "verification"))
    weights = LABELS["val_ema" if made["weights"] == "ema" else "val"] + (
        " (moving average)" if made["weights"] == "ema" else ""
    )
    weights += f" of {shown(run['directory'])}, step {run['step']}" if run else ""
    weights += f", top-1 {metrics['top1']:.2f} % on its validation images" if metrics else ""
    size = ", ".join("any" if side is None else str(side) for side in taken["shape"])
    takes = "pixels, RGB; normalised in the graph" if made["preprocessing"]["in_graph"] else "normalised by whoever calls it"
    rows = [
        ("file", f"{shown(results['folder'])}/{made['file']}"),
        ("", f"{made['bytes']:,} bytes, {made['precision']}; all about it in model.json beside it"),
        ("weights", weights),
        ("takes", f"{taken['name']}: {taken['dtype']} [{size}] {taken['layout']}, {takes}"),
        ("gives", f"{made['output']['name']}: {made['num_classes']} classes"),
    ]
    rows += [("resized", f"pos_embed {results['resized']}")] if results["resized"] else []
    if checked:
        same = f"largest difference {checked['max_difference']:.1e} (allowed {checked['tolerance']:.1e})"
        agree = f"top-1 agrees on {100 * checked['top1_agreement']:.1f} %"
        rows.append(("verified", f"on {checked['images']} validation images beside the checkpoint: {same}, {agree}"))
    else:
        rows.append(("verified", "no: nothing here reads AIR back; compare what ATC makes of it on the device"))
    return lines_of(rows)


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
    if "data_wait" in progress:
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
    of = f" of {progress['images']}" if "images" in progress else ""
    return f"{progress['evaluated']}{of} images"
