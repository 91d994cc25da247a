"""What a person sees of a run: a live panel on a terminal, lines that stay, the results at the end.

The display is a convenience. Whatever goes wrong in it, the run continues: the live panel gives way to plain lines, and these
to nothing, and each is said once.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from deit.config.schema import RunConfig
from deit.config.tasks import InferenceTask
from deit.console import LiveArea
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
        self._area = LiveArea(console)
        self._mute = False
        self._phase: str | None = None  # the last one that has its line
        self._evaluated = 0  # step of the last evaluation that has its line
        self._introduced = False  # whether the teacher of a distillation was
        self._noticed = 0  # how many of the run's warnings were shown

    def __enter__(self) -> Display:
        self.console.print(self._headline)
        self._area.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._area.__exit__(kind, error, trace)

    def update(self, status: Status) -> None:
        """Show the newest progress; never raises."""
        if self._mute:
            return
        try:
            self._update(status.progress)
        except Exception as error:
            if self._area.on:
                self._area.give_up(error)
            else:
                self._mute = True
                said = f"warning: the progress cannot be shown ({type(error).__name__}: {error}); the run continues"
                self.console.print(said, style="yellow")

    def _update(self, progress: dict[str, Any]) -> None:
        teacher = progress.get("teacher")
        if teacher and not self._introduced:
            self._introduced = True
            self.console.print(f"teacher: {teacher['description']}, top-1 {teacher['top1']:.2f} % on the validation images")
        notices = progress.get("notices", [])
        for notice in notices[self._noticed :]:
            self.console.print(f"warning: {notice}", style="yellow")
        self._noticed = len(notices)
        self._lines(progress)
        if self._area.on:
            self._area.draw(_panel(progress))

    def _lines(self, progress: dict[str, Any]) -> None:
        """A line for each phase before the training, where no panel shows it, and one for each evaluation."""
        phase, last = progress.get("phase", "starting"), progress.get("last") or {}
        step = max((entry["step"] for entry in last.values()), default=0)
        if not step:
            if phase != self._phase and not self._area.on:
                self.console.print(phase)
            self._phase = phase
        elif step != self._evaluated and phase == "training":
            self._evaluated = step
            accuracy = ", ".join(f"top-1 {entry['top1']:.2f} % {LABELS[prefix]}" for prefix, entry in last.items())
            epoch = f"epoch {max(entry['epoch'] for entry in last.values())}/{progress.get('epochs', '?')}"
            self.console.print("  ".join([epoch, *_numbers(progress), accuracy, f"ETA {eta(progress)}"]))


def _panel(progress: dict[str, Any]) -> Group:
    """Lines that fit any width: what is too long ends in an ellipsis, and the bar takes what is left."""
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
    """The time a training still needs, as its worker expects it; ``-`` where it does not know yet."""
    return duration(max(0.0, progress["expected_end"] - time.time())) if progress.get("expected_end") else "-"


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
    said = results.get("said", {})
    width = max((cell_len(shown(name)) for name in said), default=0)
    rows += [("", f"{shown(name)}{' ' * (width - cell_len(shown(name)))}  {what}") for name, what in said.items()]
    if said and len(said) < results["images"]:
        rows.append(("", f"... and {results['images'] - len(said):,} more in the file below"))
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
    if "sheet" in results:
        rows.append(("picture", f"{run}/{results['sheet']}"))
    elif "no_sheet" in results:
        rows.append(("picture", f"could not be drawn ({results['no_sheet']})"))
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
    takes = "pixels, RGB; normalised in the graph" if made["preprocessing"]["in_graph"] else "normalised by the caller"
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


def _numbers(progress: dict[str, Any]) -> list[str]:
    parts = []
    if "loss" in progress:
        parts.append(f"loss {progress['loss']:.4f}")
    if "lr" in progress:
        parts.append(f"lr {progress['lr']:.2e}")
    if "images_per_s" in progress:
        parts.append(f"{progress['images_per_s']:,.0f} images/s")
    if "data_wait" in progress:
        parts.append(f"data wait {100 * progress['data_wait']:.1f} %")
    return parts


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
