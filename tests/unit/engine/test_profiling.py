"""The table of operators that hardware.profile writes on the CPU, and the steps that it records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deit.config.schema import PROFILE_WARMUP
from deit.engine import profiling
from deit.engine.recorder import Mute


def test_operators_are_listed_per_step_with_the_slowest_first(tmp_path: Path) -> None:
    assert profiling.operators(tmp_path, 2) == []
    folder = tmp_path / "host_1" / "FRAMEWORK"
    folder.mkdir(parents=True)
    (folder / "cpu_op_type_info_0.csv").write_text(
        "op_type,type_occurrences,total_compute_time\nMul,20,3.0\nMatMul,8,9.0\n", encoding="utf-8"
    )
    found = profiling.operators(tmp_path, 2)
    assert found == [("MatMul", 4.5, 4), ("Mul", 1.5, 10)]
    assert profiling.table(found, rows=1).splitlines()[2:] == ["| MatMul | 4.5 | 75.0 % | 4 |"]


@pytest.mark.parametrize("count", [None, 2])
def test_steps_after_the_warmup_are_recorded_once(count: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Fake:
        def __init__(self, output: Path, steps: int) -> None:
            calls.append(steps)

        def __enter__(self) -> None:
            calls.append("start")

        def step(self) -> None:
            calls.append("step")

        def __exit__(self, *error: object) -> None:
            calls.append("stop")

    monkeypatch.setattr(profiling, "Recording", Fake)
    steps = profiling.StepProfiler(count, tmp_path)
    for step in range(1, PROFILE_WARMUP + 6):
        steps.begin_step()
        assert ("start" in calls) == (count is not None and step > PROFILE_WARMUP)
        steps.end_step(step, Mute())
    assert calls == ([] if count is None else [2, "start", "step", "step", "stop"])
