"""Estimates the end of a training from the time of its steps and evaluations, without compilation."""

from __future__ import annotations

import time


class Pace:
    """Measures steps and evaluations, except those with compilation: the first step and the first batch of an evaluation."""

    def __init__(self) -> None:
        self._steps, self._step_seconds = -1, 0.0  # -1: the first one is not counted
        self._evaluations, self._evaluation_seconds = 0, 0.0
        self._batches: list[tuple[float, int]] = []  # of the current evaluation: time, images done until then

    def step(self, seconds: float) -> None:
        """An optimizer step has taken so long, including everything around it."""
        self._steps += 1
        self._step_seconds += seconds if self._steps else 0.0

    def batch(self, images: int) -> None:
        """A batch of an evaluation is done, with ``images`` of the evaluation in total."""
        self._batches.append((time.monotonic(), images))

    def evaluation(self) -> None:
        """An evaluation is done. Its duration is extrapolated from all batches but the first."""
        batches, self._batches = self._batches, []
        if len(batches) > 1 and batches[-1][1] > batches[0][1]:
            (began, first), (ended, images) = batches[0], batches[-1]
            self._evaluations += 1
            self._evaluation_seconds += (ended - began) * images / (images - first)

    def expected_end(self, steps: int, evaluations: int) -> float | None:
        """Unix seconds at which ``steps`` and ``evaluations`` more will be done; None before a step was measured."""
        if self._steps < 1:
            return None
        left = steps * self._step_seconds / self._steps
        if self._evaluations:
            left += evaluations * self._evaluation_seconds / self._evaluations
        return time.time() + left
