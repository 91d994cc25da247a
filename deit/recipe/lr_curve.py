"""The learning-rate schedule as a picture: a PNG in the run directory, a small plot in the terminal.

Both are drawn over epochs, so they do not need the number of images.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deit.config.schema import RunConfig
from deit.recipe.plan import global_batch
from deit.recipe.schedule import learning_rate, peak_lr

POINTS_PER_EPOCH = 20
BLOCKS = " ▁▂▃▄▅▆▇█"


def draw(config: RunConfig, path: Path) -> None:
    """Draw the learning rate of ``config`` into the PNG ``path``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: takes half a second
    from matplotlib.figure import Figure

    epochs, rates = curve(config)
    # Fixed margins: a layout engine measures every text twice, which takes half of the time.
    figure = Figure(figsize=(7, 3.2))
    figure.subplots_adjust(left=0.09, right=0.97, bottom=0.15, top=0.9)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(epochs, rates, linewidth=1.5, drawstyle="steps-post" if config.schedule.granularity == "epoch" else "default")
    axes.set_xlabel("epoch")
    axes.set_ylabel("learning rate")
    axes.set_title(f"{config.name}: {config.schedule.name}, peak {max(rates):.3g}")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes.grid(alpha=0.3)
    axes.set_xlim(0, epochs[-1])
    axes.set_ylim(bottom=0)
    # Without matplotlib's version in the file, equal curves are equal files.
    figure.savefig(path, dpi=120, metadata={"Software": None})


def curve(config: RunConfig) -> tuple[list[float], list[float]]:
    """Epochs and their learning rates, from the first step to the end of the cooldown."""
    schedule = config.schedule
    peak = peak_lr(config.optim, global_batch(config))
    # The last point closes the last step of a staircase.
    steps = range((schedule.epochs + schedule.cooldown_epochs) * POINTS_PER_EPOCH + 1)
    last = steps[-1] - 1
    rates = [learning_rate(schedule, peak, min(step, last), POINTS_PER_EPOCH) for step in steps]
    return [step / POINTS_PER_EPOCH for step in steps], rates


def plot_text(config: RunConfig, width: int = 72, height: int = 6) -> str:
    """The curve in block characters: ``height`` lines of ``width`` columns, and the epochs below."""
    # Short trainings have fewer steps of the staircase than columns; the plot shows the smooth schedule.
    smooth = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, granularity="step"))
    epochs, rates = curve(smooth)
    columns = [rates[column * (len(rates) - 1) // (width - 1)] for column in range(width)]
    peak = max(columns)
    levels = [round(rate / peak * height * 8) if peak else 0 for rate in columns]
    lines = []
    for row in reversed(range(height)):
        label = f"{max(rates):9.3g} " if row == height - 1 else f"{0:9} " if row == 0 else " " * 10
        lines.append(label + "".join(BLOCKS[min(max(level - row * 8, 0), 8)] for level in levels))
    end = f"{epochs[-1]:g} epochs"
    return "\n".join([*lines, " " * 10 + "0" + end.rjust(width - 1)])
