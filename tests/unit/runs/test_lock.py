"""The lock of a run: one launch at a time."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from composition import composed

from deit.config import frozen
from deit.errors import UserError
from deit.runs import directory
from deit.runs.directory import RunDirectory
from deit.runs.lock import held, locked
from deit.runs.run_processes import RUN_VARIABLE


def new_run(tmp_path: Path, *overrides: str) -> RunDirectory:
    config = composed("experiment=quickstart", *overrides)
    run = directory.create(tmp_path / "runs", config.name)
    frozen.save(config, run.config)
    return run


@pytest.fixture
def at_first_wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """``at_first_wait(act)``: what a launch waits for happens while it waits, and not before, however slow the machine is."""

    def let(act: Callable[[], object]) -> None:
        sleep = time.sleep

        def acting(seconds: float) -> None:
            monkeypatch.setattr(time, "sleep", sleep)
            act()
            sleep(seconds)

        monkeypatch.setattr(time, "sleep", acting)

    return let


def test_brief_lock_of_a_reader_does_not_stop_a_launch(
    tmp_path: Path, at_first_wait: Callable[[Callable[[], object]], None]
) -> None:
    run = new_run(tmp_path)
    with open(run.path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert held(run)
        with pytest.raises(UserError, match="still being worked on by another launch"), locked(run, patient=False):
            pass
        at_first_wait(lock.close)
        with locked(run):
            pass
    assert not held(run)


@pytest.mark.process
def test_launch_waits_for_the_processes_of_a_killed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at_first_wait: Callable[[Callable[[], object]], None]
) -> None:
    run = new_run(tmp_path)
    worker = subprocess.Popen(["sleep", "600"], env={RUN_VARIABLE: str(run.path)})
    try:
        assert held(run)
        at_first_wait(worker.kill)
        with locked(run):
            assert worker.wait(60) == -signal.SIGKILL
        assert f"its launcher was killed; waiting for its processes to end: [{worker.pid}]" in capsys.readouterr().err
    finally:
        worker.kill()
        worker.wait()
