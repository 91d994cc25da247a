"""Predict with MindSpore: a network of a run or file, or an exported MINDIR. An ONNX file needs no worker."""

from __future__ import annotations

from typing import Any

from deit.inference.prediction import predict
from deit.tasks.context import Context


def run(context: Context) -> dict[str, Any]:
    """Write the predictions and, for labelled images, their accuracy into the run directory; returns the results to show.

    Raises Interrupted after a signal; nothing is written then.
    """
    report = context.report
    report.progress(now=True, phase="loading")

    def progress(done: int, total: int) -> None:
        context.stop_if_asked()
        report.progress(phase="predicting", evaluated=done, images=total)

    return predict(context.run, context.config, progress)
