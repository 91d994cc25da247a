"""Sweeps on the card pool of one machine, with real trainings, real signals and a real MLflow database."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import LAUNCH
from empty_store import add_empty_store
from launching import BRIEF, signal_workers
from running_sweep import LONG, Sweep
from waiting import until

from deit.files import read_json
from deit.runs import checkpoint, journal, run_processes, status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import FAILED, FINISHED, INTERRUPTED
from deit.runs.trial_record import RUNNING, WAITING, Trial

ENDS = """\
# @package _global_
hydra:
  mode: MULTIRUN
  sweeper:
    cases:
      hangs: [hardware=cpu, data.batch_size=32, hardware.hang_timeout=60]
      fails: [hardware=cpu, data.batch_size=32, optim.base_lr=1e30]
      killed: [hardware=cpu2, data.batch_size=16]
      alone: [hardware=cpu, data.batch_size=32, schedule.max_steps=4]
"""


def at_step(step: int, *numbers: int) -> Callable[[list[Trial]], Any]:
    """All of these trials, once each has come so far."""

    def look(trials: list[Trial]) -> Any:
        chosen = [trial for trial in trials if trial.number in numbers]
        far = [status.read(trial.directory).progress.get("step", -1) >= step for trial in chosen]
        return chosen if len(chosen) == len(numbers) and all(far) else None

    return look


def at_work(trials: list[Trial]) -> Trial | None:
    """The first of these trials whose worker has begun: it certainly writes a checkpoint if it is asked to stop."""
    return next((trial for trial in trials if status.read(trial.directory).state == status.RUNNING), None)


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    made = Sweep(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
    for path in tmp_path.glob("runs/*/*"):
        run_processes.kill_all(RunDirectory(path))


def most_at_once(trials: list[Trial]) -> tuple[int, bool]:
    """Most slots in use at any time, and whether any slot had two trials at once, by the recorded times."""
    uses = [(a.began, a.ended, card) for trial in trials for a in trial.attempts for card in a.cards]
    events = sorted([(began, 1, card) for began, _, card in uses] + [(ended, -1, card) for _, ended, card in uses])
    now: Counter[int] = Counter()
    most, twice = 0, False
    for _, change, card in events:  # an end at the same time as a start comes first
        now[card] += change
        most, twice = max(most, sum(now.values())), twice or now[card] > 1
    return most, twice


def shorten(trial: Trial, steps: int) -> None:
    """Let a trial that would never be through end with this step once it is started again."""
    config = trial.directory.config.read_text()
    assert config.count("max_steps: null") == 1
    trial.directory.config.write_text(config.replace("max_steps: null", f"max_steps: {steps}"))


def test_trials_share_slots_and_a_failed_killed_or_hanging_one_does_not_affect_the_others(sweep: Sweep) -> None:
    """Three slots: a worker stands still, one diverges, one of two waits for room and loses its launcher, one is left alone."""
    hangs, fails, killed, alone = range(4)
    small = [text for text in BRIEF if not text.startswith("data.batch_size")]
    (sweep.folder / "more" / "sweep").mkdir(parents=True)
    (sweep.folder / "more" / "sweep" / "ends.yaml").write_text(ENDS)
    sweep.start(
        *("--config-dir", str(sweep.folder / "more"), "sweep=ends", *small, LONG, "tracking=none"),
        *("sweep.cards=3", "sweep.retries=1"),
    )
    epoch = 2  # steps
    last = {alone: 2 * epoch}
    for number in (hangs, killed):
        trial = sweep.wait(lambda trials, n=number: trials and checkpoint.complete(trials[n].directory) and trials[n])
        signal_workers(trial.directory, signal.SIGSTOP)
        done = max(record["step"] for _, record in journal.read(trial.directory.journal))
        last[number] = (done // epoch + 3) * epoch
        shorten(trial, last[number])
    launcher = status.read(trial.directory).launcher_pid
    assert launcher is not None
    os.kill(launcher, signal.SIGKILL)
    assert sweep.end() == 1
    said = sweep.output.read_text()
    trials = sweep.trials()
    assert [trial.state for trial in trials] == [FINISHED, FAILED, FINISHED, FINISHED], said
    assert [trial.cards for trial in trials] == [1, 1, 2, 1]
    assert [len(trial.attempts) for trial in trials] == [2, 2, 2, 1]
    message = trials[fails].message
    assert message is not None and "diverged" in message and f"{trials[fails]} failed after" in said
    assert "its launcher was killed by SIGKILL" in said and "no progress for hardware.hang_timeout=60 s" in said
    assert "1 of 4 trials failed:" in said and "sweep.retry_failed=true" in said
    for number in (hangs, killed, alone):
        assert f"{trials[number]} finished after" in said
        # It resumed from its checkpoint, and its history has neither a gap nor a duplicate.
        records = [record for _, record in journal.read(trials[number].directory.journal)]
        steps = [record["step"] for record in records if "val/top1" in record.get("metrics", {})]
        assert steps == list(range(epoch, last[number] + 1, epoch))
        assert any(record.get("event") == "resumed" for record in records) == (number != alone)
    assert most_at_once(trials) == (3, False)
    assert not any(run_processes.of_run(trial.directory) for trial in trials)


def test_killed_sweep_resumes_and_every_trial_finishes_once(sweep: Sweep) -> None:
    """kill -9 on the launcher while one trial is finished, two run and another waits; then sweep.resume=."""
    add_empty_store(sweep.folder)
    sweep.start("-m", *BRIEF, "hardware=cpu", "sweep.cards=2", "seed=0,1,2,3", "hardware.grace_period=120")
    # One of the first two, and the one that follows the other, are paused before their first step. So they are still running
    # and the last one waits when the sweep dies, however long it takes until MLflow has all of the one that finishes.
    standing = [sweep.wait(lambda trials: at_work(trials[:2]))]
    signal_workers(standing[0].directory, signal.SIGSTOP)
    standing.append(sweep.wait(lambda trials: at_work(trials[2:])))
    signal_workers(standing[1].directory, signal.SIGSTOP)
    sweep.wait(lambda trials: {FINISHED, RUNNING, WAITING} == {trial.state for trial in trials})
    assert sweep.process is not None
    sweep.process.kill()
    sweep.process.wait()
    before = {trial.number: trial.state for trial in sweep.trials()}
    for trial in standing:  # not on before it has been told to end
        until(lambda log=trial.directory.logs / "launch.log": "SIGTERM: writing a checkpoint" in log.read_text())
        signal_workers(trial.directory, signal.SIGCONT)
    assert {FINISHED, RUNNING, WAITING} == set(before.values())

    assert sweep.start("sweep.resume=last").end() == 0, sweep.output.read_text()
    said = sweep.output.read_text()
    trials = sweep.trials()
    assert [trial.state for trial in trials] == [FINISHED] * 4
    went_on = 0
    for trial in trials:
        # Finished ones are not started again; interrupted ones go on, from their checkpoint if there was one.
        resumed = sum(record.get("event") == "resumed" for _, record in journal.read(trial.directory.journal))
        assert len(trial.attempts) in ((1, 2) if before[trial.number] == RUNNING else (1,)), said
        assert resumed < len(trial.attempts)
        went_on += resumed
        assert checkpoint.read_state(checkpoint.complete(trial.directory)[-1])["step"] == 8
        assert trial.objectives == [status.read(trial.directory).results["best"]["val"]["top1"]]
    assert went_on == 2 and [before[trial.number] for trial in standing] == [RUNNING] * 2

    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{sweep.folder}/mlflow.db")
    runs = client.search_runs(["1"], filter_string=f"tags.`sweep.id` = '{sweep.directory.id}'")
    assert sorted(run.data.tags["sweep.swept.seed"] for run in runs) == ["0", "1", "2", "3"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for trial in trials:
        (state,) = trial.directory.tracking.glob("*.json")
        run_id = read_json(state)["run_id"]
        for name in ("train/loss", "val/top1", "best/val_top1"):
            wanted = [
                (record["step"], record["metrics"][name])
                for _, record in journal.read(trial.directory.journal)
                if name in record.get("metrics", {})
            ]
            history = [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
            assert sorted(history) == sorted(set(wanted)) == sorted(wanted)
    again = subprocess.run([sys.executable, str(LAUNCH), "sweep.resume=last"], cwd=sweep.folder, capture_output=True, text=True)
    assert again.returncode == 0 and "4 finished" in again.stdout and "starts" not in again.stdout


def test_late_trial_and_one_at_ctrl_c_write_checkpoints_and_no_other_starts(sweep: Sweep) -> None:
    """One slot. The sweep itself stands still while a trial starts, so that this is no question of the machine's speed."""
    sweep.start("-m", *BRIEF, LONG, "tracking=none", "hardware=cpu", "seed=0,1,2", "sweep.cards=1", "sweep.trial_timeout=5")
    assert sweep.process is not None
    for late in (0, 1):
        sweep.wait(lambda trials, n=late: trials and trials[n].state == RUNNING)
        sweep.process.send_signal(signal.SIGSTOP)
        sweep.wait(at_step(1, late))
        if late == 1:
            sweep.process.send_signal(signal.SIGINT)
        sweep.process.send_signal(signal.SIGCONT)
    assert sweep.end() == 130
    said, trials = sweep.output.read_text(), sweep.trials()
    assert_stopped(trials[0], FAILED, "took longer than sweep.trial_timeout=5 s")
    assert_stopped(trials[1], INTERRUPTED, "the sweep was stopped by SIGINT")
    assert trials[2].state == WAITING and trials[2].directory.config.exists() and not trials[2].attempts
    (line,) = re.findall(r"Resume it with:  python \S*launch\.py (\S+)", said)
    assert line == f"sweep.resume={sweep.directory.path.relative_to(sweep.folder)}"


def assert_stopped(trial: Trial, state: str, reason: str) -> None:
    """The trial was told to end, did so with a checkpoint, and left nothing behind."""
    assert (trial.state, trial.message) == (state, reason)
    assert checkpoint.complete(trial.directory)
    ended = status.read(trial.directory)
    assert ended.state == INTERRUPTED and ended.message is not None and reason in ended.message
    assert not run_processes.of_run(trial.directory)
