"""The results of the steps, collected without waiting for the device after each."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Tensor


@dataclass(frozen=True)
class Bad:
    """A step with a loss or gradient that is not finite, unless a dynamic loss scale explains it."""

    step: int  # counted from 0
    loss: float
    in_a_row: int  # consecutive bad steps up to this one


class Meter:
    """Losses, overflows and bad steps. ``saved`` is the part that a resumed run needs.

    A gradient that is not finite is normal under a dynamic loss scale, which is then lowered, unless the scale is already 1.
    """

    def __init__(self, dynamic: bool) -> None:
        self._dynamic = dynamic
        self._losses: list[float] = []  # since the metrics were last written
        self._overflows = 0
        self._in_a_row = 0
        self._bad: list[Bad] = []  # not returned yet
        self._scale = 1.0  # of the next step
        self._pending: list[tuple[int, list[Tensor], Tensor, Tensor, Tensor]] = []
        self._steps = 0
        self._norm = math.nan
        self.start(0.0)

    @property
    def overflows(self) -> int:
        """Steps of the whole training that changed no weight: their gradient was not finite."""
        self._read()
        return self._overflows

    def begin(self, scale: float, saved: Mapping[str, Any] | None = None) -> None:
        """Start with the loss scale ``scale``, after the steps of a checkpoint if ``saved`` is given."""
        saved = saved or {"window": [], "overflows": 0}
        self._scale, self._losses, self._overflows = scale, list(saved["window"]), saved["overflows"]
        # Older checkpoints have neither.
        self._in_a_row = saved.get("in_a_row", 0)
        self._bad = [Bad(**bad) for bad in saved.get("bad", [])]
        self._pending.clear()
        self._steps = 0

    def saved(self) -> dict[str, Any]:
        """The argument ``saved`` of ``begin``."""
        self._read()
        return {
            "window": list(self._losses),
            "overflows": self._overflows,
            "in_a_row": self._in_a_row,
            "bad": [vars(bad) for bad in self._bad],
        }

    def start(self, waited: float) -> None:
        """Start the clock for the speed; ``waited`` is TrainLoader.waited."""
        self._began, self._waited = time.perf_counter(), waited

    def add(self, step: int, losses: list[Tensor], norm: Tensor, finite: Tensor, scale: Tensor) -> None:
        """Record the outputs of TrainStep for each micro batch of a step (losses) and for the last one (the rest)."""
        self._pending.append((step, losses, norm, finite, scale))

    def bad(self) -> list[Bad]:
        """The bad steps since the last call."""
        self._read()
        found, self._bad = self._bad, []
        return found

    def has_bad(self) -> bool:
        """Whether ``bad`` would return any."""
        self._read()
        return bool(self._bad)

    def _read(self) -> None:
        for step, losses, norm, finite, scale in self._pending:
            loss = float(np.mean([float(value.asnumpy()) for value in losses]))
            whole = bool(finite.asnumpy())
            excused = self._dynamic and self._scale > 1
            self._overflows += not whole
            if (whole and math.isfinite(loss)) or excused:
                self._in_a_row = 0
            else:
                self._in_a_row += 1
                self._bad.append(Bad(step, loss, self._in_a_row))
            self._losses.append(loss)
            self._norm, self._scale = float(norm.asnumpy()), float(scale.asnumpy())
        self._steps += len(self._pending)
        self._pending.clear()

    def metrics(self, waited: float, global_batch: int) -> dict[str, float]:
        """The metrics since the last call. The loss is the mean of the finite ones, if there are any."""
        self._read()
        now = time.perf_counter()
        seconds = max(now - self._began, 1e-9)
        finite = [loss for loss in self._losses if math.isfinite(loss)]
        metrics = {
            "train/loss": float(np.mean(finite or self._losses)),
            "train/grad_norm": self._norm,
            "train/loss_scale": self._scale,
            "train/overflows": float(self._overflows),
            "perf/images_per_s": self._steps * global_batch / seconds,
            "perf/step_ms": 1000 * seconds / max(self._steps, 1),
            "perf/data_wait": (waited - self._waited) / seconds,
        }
        self._losses, self._steps = [], 0
        self.start(waited)
        return metrics
