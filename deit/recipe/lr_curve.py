"""The learning-rate schedule as a picture: a PNG in the run directory, a small plot in the terminal.

Both are drawn over epochs, so they do not need the number of images.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

from deit.config.schema import RunConfig
from deit.recipe.plan import global_batch
from deit.recipe.schedule import learning_rate, peak_lr

POINTS_PER_EPOCH = 20
WIDTH, HEIGHT = 840, 384  # pixels of the PNG
BLUE = (38, 98, 184)
BLOCKS = " ▁▂▃▄▅▆▇█"


def draw(config: RunConfig, path: Path) -> None:
    """Draw the learning rate of ``config`` into the PNG ``path``."""
    from deit.chart import TITLE, Axes, Chart, length, marks, ticks  # late: a dry run draws with letters

    epochs, rates = curve(config)
    highest = 1.05 * max(rates) or 1.0
    beside = marks(ticks(0, highest))
    left = 60 + length([text for _, text in beside])
    title = f"{config.name}: {config.schedule.name}, peak {max(rates):.3g}"
    chart = Chart(max(WIDTH, length([title], TITLE) + 32), HEIGHT)
    area = Axes(chart, (left, 40, chart.image.width - 24, HEIGHT - 64), (0, epochs[-1]), (0, highest))
    area.grid()
    points = list(zip(epochs, rates, strict=True))
    if config.schedule.granularity == "epoch":
        points = [corner for point, after in pairwise(points) for corner in (point, (after[0], point[1]))] + points[-1:]
    area.line(points, BLUE)
    area.frame()
    area.mark_x(marks(ticks(0, epochs[-1], 10)))
    area.mark_y(beside)
    chart.text((left + area.right) / 2, HEIGHT - 12, "epoch", "mb")
    chart.upright(20, (area.top + area.bottom) / 2, "learning rate")
    chart.title((left + area.right) / 2, 28, title)
    chart.save(path)


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
