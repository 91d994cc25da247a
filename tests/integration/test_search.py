"""The command with hydra/sweeper=optuna: mistakes before the first trial, and a search that is killed, resumed and pruned."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from command import LAUNCH
from launching import BRIEF, Running, signal_workers

from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.runs.outcome import FINISHED
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import PRUNED
from deit.sweeps.search import STUDY


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("hydra.sweeper.n_trial=3",), "Did you mean 'n_trials'?"),
        (("hydra.sweeper.sampler.popsize=3",), "belongs to hydra/sweeper/sampler=cmaes"),
        (("hydra.sweeper.sampler=cmaes",), "give hydra/sweeper/sampler=cmaes"),
        (("+hydra.sweeper.foo=1",), "keys are closed"),
        (("optim.base_lr=interval(-1,1e-3)", "augment.smoothing=interval(0,2)"), "augment.smoothing is 2.0"),
        (("ema=none,nosuch",), "ema is 'nosuch'"),
        (("seed=1,2", "sweep.objectives=[best/val_top]"), "Did you mean 'best/val_top1'?"),
    ],
)
def test_mistakes_are_reported_before_the_first_trial(typed: tuple[str, ...], said: str, command, tmp_path: Path) -> None:
    outcome = command("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "experiment=quickstart", *typed)
    assert outcome.code == 2 and said in outcome.err and "Traceback" not in outcome.err
    assert not list(tmp_path.iterdir())


def test_missing_optuna_is_reported_with_the_command_to_install_it(tmp_path: Path) -> None:
    code = "import importlib.util as u, sys; f = u.find_spec\n"
    code += "u.find_spec = lambda name, *a: None if name == 'optuna' else f(name, *a)\n"
    code += "from deit.cli import main; sys.exit(main())"
    typed = ("-m", "hydra/sweeper=optuna", "experiment=quickstart", "seed=1,2")
    environment = {**os.environ, "PYTHONPATH": str(LAUNCH.parent)}
    ended = subprocess.run([sys.executable, "-c", code, *typed], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2 and "pip install 'deit-mindspore[search]'" in ended.stderr


def trial_with(running: Running, number: int, what: Callable[[RunDirectory], object]) -> RunDirectory:
    """The run of a trial, once ``what`` is true of it."""
    end = time.monotonic() + 600
    while time.monotonic() < end and running.process.poll() is None:
        trials = [trial for path in running.folder.glob("runs/sweeps/*") for trial in SweepDirectory(path).read_trials()]
        if len(trials) > number and what(trials[number].directory):
            return trials[number].directory
        time.sleep(0.05)
    raise AssertionError(running.output.read_text())


def test_killed_search_resumes_and_prunes(background: Callable[..., Running], tmp_path: Path) -> None:
    """Four real trainings: the launcher is killed in the second; of the last, which learns nothing, most is left out."""
    epochs = 12  # seconds from the first checkpoint, by which a trial is stopped, to the end
    typed = (
        "-m",
        "hydra/sweeper=optuna",
        "hydra/sweeper/sampler=grid",
        "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=2",
        "hydra.sweeper.pruner.n_warmup_steps=4",  # before, all are about as good as guessing
        *BRIEF,
        f"schedule.epochs={epochs}",
        "schedule.min_lr=0",
        "tracking=none",
        "sweep.cards=1",
        "sweep.objectives=[val/loss]",
        "sweep.directions=[minimize]",
        "optim.base_lr=1e-2,2e-2,1e-5",
    )
    first = background(*typed)
    second_trial = trial_with(first, 1, checkpoint.complete)
    signal_workers(second_trial, signal.SIGSTOP)
    first.process.kill()
    assert first.process.wait() == -signal.SIGKILL
    signal_workers(second_trial, signal.SIGCONT)
    resumed = background("sweep.resume=last")
    # The last trial is paused until it is asked to stop; a real one would still train for hours.
    judged = checkpoint.folder_name(4 * 2)
    pruned = trial_with(resumed, 2, lambda run: any(path.name >= judged for path in checkpoint.complete(run)))
    signal_workers(pruned, signal.SIGSTOP)
    trial_with(resumed, 2, lambda run: run.stop_reason.exists())
    signal_workers(pruned, signal.SIGCONT)
    assert resumed.end(600) == 0, resumed.output.read_text()
    (path,) = tmp_path.glob("runs/sweeps/*")
    trials = SweepDirectory(path).read_trials()
    assert [trial.state for trial in trials] == [FINISHED, FINISHED, PRUNED]
    assert [len(trial.attempts) for trial in trials] == [1, 2, 1]
    records = optuna.load_study(study_name=STUDY, storage=f"sqlite:///{path}/study.db").trials
    assert [record.state.name for record in records] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert [list(record.intermediate_values) for record in records[:2]] == [list(range(1, epochs + 1))] * 2
    assert records[2].last_step < epochs
    assert [record.values for record in records[:2]] == [trial.objectives for trial in trials[:2]]
    info = json.loads((path / "sweep.json").read_text())
    assert info["search"]["space"] == {"optim.base_lr": "1e-2,2e-2,1e-5"}
