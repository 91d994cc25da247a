"""hardware.max_restarts and hardware.hang_timeout: a run that restarts by itself, and one that a restart cannot help."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from empty_store import add_empty_store
from launching import PATIENCE, SMALL, Running, metrics, signal_workers

from deit.files import read_json
from deit.runs import checkpoint, status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import FAILED
from deit.runs.run_processes import of_run


def kill_when_another(run: RunDirectory, rank: int, last: int | None, number: int) -> int:
    """Signal the worker of a rank, once it is another process than ``last``; returns it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        text = (run.logs / f"worker_{rank}.pid").read_text() if (run.logs / f"worker_{rank}.pid").exists() else ""
        if text and int(text) != last:
            os.kill(int(text), number)
            return int(text)
        time.sleep(0.05)
    raise AssertionError("no new worker")


def test_all_ranks_restart_after_a_crash_and_the_run_succeeds(background: Callable[..., Running], tmp_path: Path) -> None:
    add_empty_store(tmp_path)
    running = background(
        *(*SMALL, "hardware=cpu2", "data.batch_size=16", "hardware.max_restarts=2"),
        "tracking.flush_timeout=900",
        "schedule.epochs=8",
    )
    run = running.wait_for_step(10)  # the first checkpoint is of step 8
    signal_workers(run, signal.SIGSTOP)  # so that the kill comes before the end, however slow this machine
    kill_when_another(run, 1, None, signal.SIGKILL)
    os.kill(int((run.logs / "worker_0.pid").read_text()), signal.SIGCONT)
    assert running.end() == 0, running.output.read_text()
    said = running.output.read_text()
    assert "restart 1 of 2 from the last checkpoint" in said and "rank 1 ended unexpectedly (killed by SIGKILL)" in said
    assert checkpoint.read_state(checkpoint.complete(run)[-1])["step"] == 64
    found = metrics(run)
    assert [step for step, _ in found["val/top1"]] == list(range(8, 65, 8))
    from mlflow.tracking import MlflowClient

    (state,) = run.tracking.glob("*.json")
    sent = read_json(state)
    client = MlflowClient(f"sqlite:///{running.folder}/mlflow.db")
    assert client.get_run(sent["run_id"]).info.status == "FINISHED"
    history = [(point.step, point.value) for point in client.get_metric_history(sent["run_id"], "val/top1")]
    assert sorted(history) == found["val/top1"]


def test_a_crash_at_the_same_step_ends_the_run(background: Callable[..., Running]) -> None:
    """A step that is never finite is the same after each restart."""
    running = background(*SMALL, "tracking=none", "hardware=cpu", "hardware.max_restarts=5", "optim.base_lr=1e30")
    assert running.end() == 1
    said = running.output.read_text()
    assert "restart 1 of 5" in said and "restart 2 of 5" not in said and "a second time at step" in said


def test_hanging_run_is_stopped_with_the_stacks_of_its_ranks(
    background: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # MindSpore itself would end the run where it has not heard of a rank for 30 seconds, in which not every machine is through
    # with starting and compiling: no progress either.
    monkeypatch.setenv("MS_NODE_TIMEOUT", "600")
    running = background(
        *SMALL, "tracking=none", "hardware=cpu2", "data.batch_size=16", "schedule.epochs=200", "hardware.hang_timeout=60"
    )
    run = running.wait_for_step(10)
    # The other rank stands still with it, in the mean over ranks.
    kill_when_another(run, 1, None, signal.SIGSTOP)
    assert running.end() == 1
    said = running.output.read_text()
    # An epoch is short: the ranks may as well have stood still in its evaluation.
    assert re.search(r"no progress for hardware\.hang_timeout=60 s while (training|evaluating)", said), said
    assert status.read(run).state == FAILED and not of_run(run)
    log = Path(run.logs / "worker_0.log").read_text(errors="replace")
    assert "Current thread" in log and "train.py" in log
