"""The accuracies of a comparison as a picture: top-1 and top-5 of each model with their intervals."""

from __future__ import annotations

from pathlib import Path

from deit.comparison.results import Results

LONGEST = 34  # characters of a label


def draw(path: Path, results: Results) -> None:
    """Draw ``results`` into the PNG ``path``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: takes half a second
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.8 + 0.42 * len(results.models)), layout="constrained")
    FigureCanvasAgg(figure)
    places = list(range(len(results.models)))
    for axes, metric, colour in zip(figure.subplots(1, 2, sharey=True), ("top1", "top5"), ("C0", "C1"), strict=True):
        values = [getattr(model, metric) for model in results.models]
        below = [value - getattr(model, f"{metric}_low") for value, model in zip(values, results.models, strict=True)]
        above = [getattr(model, f"{metric}_high") - value for value, model in zip(values, results.models, strict=True)]
        axes.errorbar(values, places, xerr=[below, above], fmt="o", color=colour, capsize=4, linewidth=1.5)
        for value, place in zip(values, places, strict=True):
            axes.annotate(f"{value:.2f}", (value, place), (0, 6), textcoords="offset points", ha="center", fontsize=8)
        axes.set_xlabel(f"top-{metric[-1]} in percent, with 95 % intervals")
        axes.grid(axis="x", alpha=0.3)
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=5)  # longer numbers would overlap
    names = [model.label if len(model.label) <= LONGEST else f"{model.label[: LONGEST - 1]}…" for model in results.models]
    figure.axes[0].set_yticks(places, names)
    figure.axes[0].set_ylim(len(places) - 0.4, -0.6)
    figure.suptitle(f"{results.images:,} images of {results.data}")
    # Without matplotlib's version in the file, equal results are equal files.
    figure.savefig(path, dpi=120, metadata={"Software": None})
