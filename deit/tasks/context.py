"""What the worker passes to a task."""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from deit.config.schema import RunConfig
from deit.data.loader import EvalBatch
from deit.engine.recorder import Report
from deit.runs.bad_images import BadImages
from deit.runs.directory import RunDirectory


class Interrupted(Exception):
    """The run was asked to stop; a training has written its checkpoint."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal = signal_number


@dataclass
class Context:
    """One run on one rank."""

    run: RunDirectory
    config: RunConfig
    report: Report
    rank: int = 0
    world: int = 1
    stop_signals: list[int] = field(default_factory=list)  # filled by the signal handler of rank 0

    def evaluating(self, phase: str, images: int) -> None:
        """Show the start of an evaluation of ``images`` images on all ranks together."""
        self.report.progress(now=True, phase=phase, evaluated=0, images=-(-images // self.world))

    def evaluated(self, images: int) -> None:
        """Called by an evaluation with the number of images done. Raises Interrupted after a signal."""
        self.report.progress(evaluated=images)
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Raises Interrupted after a signal."""
        if self.stop_signals:
            raise Interrupted(self.stop_signals[0])

    @functools.cached_property
    def bad_images(self) -> BadImages:
        return BadImages(self.run.bad_images)

    def noting(self, step: int, batches: Iterable[EvalBatch]) -> Iterator[EvalBatch]:
        """The batches of an evaluation after ``step`` optimizer steps; records their bad images."""
        for batch in batches:
            self.bad_images.add("val", step, batch.bad)
            yield batch

    def data_metrics(self, step: int) -> dict[str, float]:
        """``data/bad_images``, the number found by all ranks so far; nothing if the first one ends the run."""
        return {} if self.config.data.on_bad_image == "error" else {"data/bad_images": float(self.bad_images.count(step))}
