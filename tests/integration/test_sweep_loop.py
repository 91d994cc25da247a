"""The loop over the trials of a sweep, and resuming a killed sweep: real directories; a trial is one shell line."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Outcome
from sweeps_on_disk import BEGAN, make_run, make_sweep, train

from deit.config import frozen
from deit.config.schema import RunConfig, SweepConfig
from deit.runs.outcome import FAILED, FINISHED, INTERRUPTED
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import RUNNING, WAITING, Attempt, Trial, identity
from deit.sweeps import start
from deit.sweeps.executors.base import Executor, Handle
from deit.sweeps.executors.local import Local
from deit.sweeps.trial_source import Listed
from deit.sweeps.work import Work

SIGTERM = 128 + signal.SIGTERM


class Shell(Executor):
    """``scripts`` are what the processes of the trials do, one after another."""

    def __init__(self, *scripts: str, slots: int = 1) -> None:
        self.scripts, self.slots = list(scripts), slots
        self.started: Callable[[], None] = lambda: None

    @property
    def size(self) -> None:
        return None

    @property
    def full(self) -> bool:
        return self.slots == 0

    def check(self, config: RunConfig) -> None:
        return

    def start(self, trial: Trial, config: RunConfig) -> Handle:
        assert not self.full
        self.slots -= 1
        process = subprocess.Popen(["sh", "-c", self.scripts.pop(0)])
        self.started()
        return _Process(self, process)


class _Process(Handle):
    def __init__(self, shell: Shell, process: subprocess.Popen[bytes]) -> None:
        self.cards = [0]
        self._shell, self._process = shell, process

    def poll(self) -> int | None:
        if self._process.poll() is not None and self.freed is None:
            self.freed, self._shell.slots = time.time(), self._shell.slots + 1
        return self._process.poll()

    def stop(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


def waiting(folder: Path, number: int, *attempts: Attempt) -> Trial:
    run = make_run(folder)
    trial = Trial(number, [f"seed={number}"], {"seed": str(number)}, str(run.path), "", 1, attempts=list(attempts))
    trial.identity = identity(frozen.load(run.config))
    return trial


def work(folder: Path, trials: list[Trial], shell: Shell, **settings: int) -> Work:
    return Work(make_sweep(folder, trials), Listed(trials), shell, SweepConfig(**settings))


def test_only_failures_count_as_retries(tmp_path: Path) -> None:
    """Two earlier launches were stopped with Ctrl-C while the trial was running: these are not its failures."""
    stopped = [Attempt(BEGAN, [0], BEGAN + 5, SIGTERM), Attempt(BEGAN + 10, [0], BEGAN + 15, SIGTERM)]
    trials = [waiting(tmp_path, 0, *stopped), waiting(tmp_path, 1)]
    assert work(tmp_path, trials, Shell("exit 1", "exit 0", "exit 1", "exit 1"), retries=1).run() is None
    assert [trial.state for trial in trials] == [FINISHED, FAILED]
    assert [[attempt.exit_code for attempt in trial.attempts] for trial in trials] == [[SIGTERM, SIGTERM, 1, 0], [1, 1]]


def test_ctrl_c_twice_interrupts_at_once(tmp_path: Path) -> None:
    """Trials that hear no SIGTERM are killed; they are no failed ones, which sweep.resume would leave out."""
    trials = [waiting(tmp_path, number) for number in range(3)]
    deaf = "trap '' TERM; while true; do sleep 1; done"
    shell = Shell(deaf, deaf, slots=2)

    def twice() -> None:
        if not shell.scripts:  # both are running
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    shell.started = twice
    assert work(tmp_path, trials, shell).run() == signal.SIGINT
    assert [trial.state for trial in trials] == [INTERRUPTED, INTERRUPTED, WAITING]
    assert {trial.message for trial in trials[:2]} == {"the sweep was stopped by SIGINT"}


def resumed(sweep: SweepDirectory, folder: Path) -> list[Trial]:
    return start.again(sweep, SweepConfig(), Local(1, folder))


def test_trials_are_found_again_after_a_kill_between_two_records(tmp_path: Path) -> None:
    """One had not come to a status of its own, the start of another was not written down before it finished."""
    begun, done = waiting(tmp_path, 0, Attempt(BEGAN, [0])), waiting(tmp_path, 1)
    begun.state = RUNNING
    train(done.directory, best=70.0)
    first, second = resumed(make_sweep(tmp_path, [begun, done]), tmp_path)
    assert first.state == WAITING and first.attempts[0].ended == BEGAN
    assert second.state == FINISHED and second.objectives == [70.0]


def test_changed_configuration_is_not_resumed(tmp_path: Path, command: Callable[..., Outcome]) -> None:
    trials = [waiting(tmp_path, 0, Attempt(BEGAN, [0], BEGAN + 5, 0)), waiting(tmp_path, 1, Attempt(BEGAN, [0], BEGAN + 5, 0))]
    for trial in trials:
        train(trial.directory, best=70.0)
        trial.state, trial.objectives = FINISHED, [70.0]
    make_sweep(tmp_path, trials)
    outcome = command("sweep.resume=last")
    assert outcome.code == 0 and "2 trials, 2 finished" in outcome.out and "starts" not in outcome.out
    config = trials[1].directory.config
    config.write_text(config.read_text().replace("seed: 0", "seed: 7"))
    outcome = command("sweep.resume=last")
    assert outcome.code == 2 and "has changed since the sweep started" in outcome.err and "config.yaml" in outcome.err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("sweep.objectives=[val/loss]", "sweep.objectives is not allowed with sweep.resume="),
        ("seed=1", "seed is not allowed with sweep.resume="),
        ("runs_dir=elsewhere", "runs_dir has no effect unless sweep.resume is last"),
    ],
)
def test_keys_that_a_resumed_sweep_rejects(tmp_path: Path, command: Callable[..., Outcome], typed: str, said: str) -> None:
    sweep = make_sweep(tmp_path, [])
    outcome = command(f"sweep.resume={sweep.path}", typed)
    assert outcome.code == 2 and said in outcome.err
