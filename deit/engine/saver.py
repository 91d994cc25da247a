"""When checkpoints are written, without delaying the training.

``save`` copies the state, which takes a moment, and a thread writes the copy while the training continues. Everything that
depends on a written checkpoint follows in the thread, in this order: the folder, ``best.json``, the record in the journal, the
deletion of old ones. One checkpoint is written at a time: a second one waits for the first.

If a checkpoint cannot be written, because the disk is full or a file server is unreachable, the training continues with a
warning, keeps the last good one, and tries again when the next is due. Only the last checkpoint of a training must be written.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from deit.config.schema import CheckpointingConfig
from deit.engine.recorder import Report
from deit.engine.state import Parts
from deit.errors import UserError
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory


class Saver:
    """Writes the checkpoints of a run. Only that of rank 0 ``writes``; the others only know when one is due.

    A context manager: at its end nothing is being written any more.
    """

    def __init__(self, run: RunDirectory, config: CheckpointingConfig, report: Report, steps_per_epoch: int, *, writes: bool):
        self._run, self._config, self._report, self._writes = run, config, report, writes
        self._steps_per_epoch = steps_per_epoch
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._error: OSError | None = None  # why the newest checkpoint could not be written
        self.at(None)

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=True)

    def at(self, step: int | None) -> None:
        """Set the step of the newest checkpoint."""
        self._newest, self._clock = step, time.monotonic()

    def due_by_steps(self, step: int) -> bool:
        """Whether ``checkpointing.every_steps`` requires one after ``step`` steps: the same on all ranks."""
        every = self._config.every_steps
        return every is not None and step % every == 0

    def due(self, step: int) -> bool:
        """Whether any rule requires one after ``step`` steps; only rank 0 knows about the clock."""
        if step in (0, self._newest):
            return False
        epoch, rest = divmod(step, self._steps_per_epoch)
        minutes = self._config.every_minutes
        return (
            (rest == 0 and epoch % self._config.every == 0)
            or self.due_by_steps(step)
            or (self._writes and minutes is not None and time.monotonic() - self._clock >= 60 * minutes)
        )

    def save(self, step: int, parts: Callable[[], Parts], facts: Mapping[str, Any]) -> None:
        """Write a checkpoint: ``parts`` copies the state, ``facts`` is the rest of ``state.json`` (with ``best``).

        Raises an earlier error of the thread, except an OSError. ``perf/checkpoint_ms`` is the duration of this call.
        """
        began = time.perf_counter()
        self.at(step)
        if self._writes:
            self.wait()
            self._writing = self._pool.submit(self._write, step, parts(), copy.deepcopy(dict(facts)))
            self._report.metrics(step, {"perf/checkpoint_ms": 1000 * (time.perf_counter() - began)})

    def check(self) -> None:
        """Raise an error of the thread, without waiting for it."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Wait until nothing is being written. Raises an error of the thread, except an OSError."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def finish(self) -> None:
        """Wait for the last checkpoint. Raises UserError if it could not be written."""
        self.wait()
        if self._error is not None:
            raise UserError(
                f"{self._run.checkpoints}: the last checkpoint could not be written ({self._error.strerror}). "
                "Fix that, then resume with resume=.",
                exit_code=1,
            )

    def _write(self, step: int, parts: Parts, facts: dict[str, Any]) -> None:
        best = facts["best"]
        try:
            # The journal first: a power failure must not take away the metrics before a checkpoint.
            self._report.sync()
            path = checkpoint.write(self._run, step, parts, facts)
            checkpoint.point_at_best(self._run, best)
        except OSError as error:
            self._error = error
            self._report.warn(
                "checkpoint_failed",
                step,
                f"the checkpoint of step {step} could not be written to {self._run.checkpoints} ({error.strerror}); "
                f"the training continues, {_last_good(self._run)}",
                errno=error.errno,
            )
            return
        self._error = None
        record(self._report, self._run, step, path.name, best)
        try:
            checkpoint.prune(self._run, self._config.keep_last)
        except OSError as error:  # retried after the next one
            self._report.warn("prune_failed", step, f"old checkpoints could not be deleted ({error})", errno=error.errno)


def record(report: Report, run: RunDirectory, step: int, name: str, best: Mapping[str, Mapping[str, Any]]) -> None:
    """Record a complete checkpoint in the journal, with the weights (val, val_ema) for which it is the best."""
    relative = (run.checkpoints / name).relative_to(run.path)
    report.checkpoint(step, str(relative), [prefix for prefix in best if best[prefix]["step"] == step])


def _last_good(run: RunDirectory) -> str:
    there = checkpoint.complete(run)
    return f"the last good one is {there[-1].name}" if there else "there is no other yet"
