"""A sweep on a real Ray. Ray is not part of the development environment: pip install -e '.[ray]' enables this test."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest
from launching import SMALL, Running, signal_workers

from deit.errors import UserError
from deit.lookup.sweeps import find
from deit.runs import status

pytest.importorskip("ray", reason="the extra `ray` is not installed")


def test_killed_ray_worker_uses_one_attempt(background: Callable[..., Running]) -> None:
    """Its trial is retried and resumes from its checkpoint; the other one is not affected."""
    long = ("schedule.epochs=40", "schedule.eval_every=40", "checkpointing.every=40", "tracking=none", "sweep.retries=1")
    sweep = background("-m", "hydra/launcher=ray", "hardware=cpu", *SMALL, *long, "seed=1,2")

    def trials() -> list:
        try:
            return find("last", "sweep.resume", str(sweep.folder / "runs")).read_trials()
        except UserError:  # not there yet
            return []

    end = time.monotonic() + 240
    while not (trials() and status.read(trials()[0].directory).progress.get("step", 0) > 0):
        assert time.monotonic() < end and sweep.process.poll() is None, sweep.output.read_text()
        time.sleep(0.1)
    run = trials()[0].directory
    signal_workers(run, signal.SIGSTOP)
    os.kill(psutil.Process(status.read(run).launcher_pid).ppid(), signal.SIGKILL)
    signal_workers(run, signal.SIGCONT)
    assert sweep.end(240) == 0, sweep.output.read_text()
    assert [trial.state for trial in trials()] == ["finished"] * 2
    assert [len(trial.attempts) for trial in trials()] == [2, 1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hardware=auto"], "hydra/launcher=ray: ascend, gpu, cpu"),
        (["hardware=ascend1"], "hardware.cards=1: the largest machine of Ray has NPU 0 times"),
    ],
)
def test_mistakes_are_rejected_before_the_first_trial(command: Callable, arguments: list[str], said: str) -> None:
    outcome = command("-m", "hydra/launcher=ray", *SMALL, *arguments, "seed=1,2")
    assert outcome.code == 2 and said in outcome.err
