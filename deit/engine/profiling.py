"""MindSpore's profiler for a few steps of a training: ``hardware.profile``.

Its output depends on the device: on Ascend ``ASCEND_PROFILER_OUTPUT`` with kernels, steps and communication, on the CPU tables
of operators. docs/hardware.md explains it.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import mindspore as ms
from mindspore import profiler

from deit.config.schema import PROFILE_WARMUP
from deit.engine.recorder import Report
from deit.files import write_text


class Recording(AbstractContextManager["Recording"]):
    """Profiles the ``steps`` steps of the block; afterwards the output is in the folder ``output``."""

    def __init__(self, output: Path, steps: int) -> None:
        self._output = output
        # MindSpore rejects paths with blanks, `#` or brackets.
        self._folder = tempfile.TemporaryDirectory()  # removed even if the training ends early
        on_card = ms.get_context("device_target") == "Ascend"
        activities = [profiler.ProfilerActivity.CPU, *([profiler.ProfilerActivity.NPU] if on_card else [])]
        self._profile = profiler.profile(
            activities=activities,
            # Without a schedule MindSpore writes no step times; on the CPU it does not support one.
            schedule=profiler.schedule(wait=0, warmup=0, active=steps, repeat=1) if on_card else None,
            on_trace_ready=profiler.tensorboard_trace_handler(self._folder.name),
        )
        self._on_card = on_card

    def __enter__(self) -> Recording:
        self._profile.start()
        return self

    def step(self) -> None:
        """Mark the end of a step."""
        if self._on_card:
            self._profile.step()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._on_card:  # where a step returns before it has ended
            ms.runtime.synchronize()
        self._profile.stop()
        self._output.mkdir(parents=True, exist_ok=True)
        for found in Path(self._folder.name).iterdir():
            shutil.move(found, self._output / found.name)
        self._folder.cleanup()


class StepProfiler:
    """Profiles ``count`` steps of this launch, after ``PROFILE_WARMUP``; with None it does nothing."""

    def __init__(self, count: int | None, output: Path) -> None:
        self._left = self._count = count or 0
        self._output = output
        self._before = PROFILE_WARMUP
        self._recording: Recording | None = None

    def begin_step(self) -> None:
        """Start the profiler if it is time."""
        if self._before > 0 or self._left == 0 or self._recording is not None:
            return
        self._recording = Recording(self._output, self._count)
        self._recording.__enter__()

    def end_step(self, step: int, report: Report) -> None:
        """After the last step write the output, on the CPU also as a table of operators, and report it."""
        self._before -= 1
        if self._recording is None:
            return
        self._recording.step()
        self._left -= 1
        if self._left > 0:
            return
        self._recording.__exit__(None, None, None)
        self._recording = None
        if found := operators(self._output, self._count):
            write_text(
                self._output / "operators.md", f"Milliseconds of all cores and calls of one train step.\n\n{table(found)}\n"
            )
        report.event("profiled", step, steps=self._count, folder=self._output.name)


def operators(output: Path, steps: int) -> list[tuple[str, float, int]]:
    """For a CPU profile (kind of operator, milliseconds per step, calls per step), the slowest first; otherwise empty."""
    files = sorted(output.glob("*/FRAMEWORK/cpu_op_type_info_*.csv"))
    if not files:
        return []
    with files[-1].open(encoding="utf-8") as file:
        found = [
            (
                row["op_type"],
                float(row["total_compute_time"]) / steps,
                round(int(row["type_occurrences"]) / steps),
            )
            for row in csv.DictReader(file)
        ]
    return sorted(found, key=lambda row: -row[1])


def table(found: list[tuple[str, float, int]], rows: int | None = None) -> str:
    """``operators`` as a Markdown table, with the first ``rows``."""
    total = sum(milliseconds for _, milliseconds, _ in found)
    lines = [f"| {name} | {one:.1f} | {100 * one / total:.1f} % | {calls} |" for name, one, calls in found[:rows]]
    return "\n".join(["| operator | ms | share | calls |", "|---|---:|---:|---:|", *lines])
