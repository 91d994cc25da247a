"""Search: the space, what Optuna is asked and told, pruning, and going on after a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
import pytest
from command import LAUNCH
from composition import composed
from hydra.core.override_parser.overrides_parser import OverridesParser
from launching import SMALL, Running, signal_workers
from optuna.trial import TrialState

from deit.config import frozen
from deit.errors import UserError
from deit.runs import checkpoint, directory, status
from deit.runs.directory import RunDirectory
from deit.runs.journal import Journal
from deit.runs.outcome import FAILED, FINISHED, INTERRUPTED
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import PRUNED, RUNNING, WAITING, Trial
from deit.sweeps import samplers, space
from deit.sweeps.samplers import Settings
from deit.sweeps.search import FRUITLESS, STUDY, Search

LR = "optim.base_lr=tag(log,interval(1e-4,1e-2))"
NONE, RANDOM, TPE = {"name": "none"}, {"name": "random"}, {"name": "tpe", "n_startup_trials": 2}
HYPERBAND = {"name": "hyperband", "min_resource": 1, "max_resource": None, "reduction_factor": 3, "bootstrap_count": 0}
MEDIAN = {"name": "median", "n_startup_trials": 1, "n_warmup_steps": 0, "interval_steps": 1, "n_min_trials": 1}


def parsed(*texts: str) -> space.Space:
    return space.parse(OverridesParser.create().parse_overrides(list(texts)))


# --- the space


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("optim=adamw,sgd", ["adamw", "sgd"]),
        ("optim.base_lr=1e-3,0.30000000000000004", [1e-3, 0.1 + 0.2]),
        ("optim.betas=choice([0.9,0.999],[0.9,0.95])", [[0.9, 0.999], [0.9, 0.95]]),
        ("name='a, b',\"it's\",c", ["a, b", "it's", "c"]),
        ("optim.clip_grad=null,1.0", [None, 1.0]),
        ("ema.enabled=true,false", [True, False]),
        ("model.depth=range(2,12,3)", [2, 5, 8, 11]),
        ("model.depth=range(12,2,-3)", [3, 6, 9, 12]),
        ("ema.decay=range(0.1,0.5,0.1)", [0.1, 0.2, 0.3, 0.4]),
    ],
)
def test_discrete_values_come_back_from_hydra_as_they_were(text: str, values: list[object]) -> None:
    found = parsed(text)
    written = [found.overrides(combination) for combination in found.combinations()]
    read = [OverridesParser.create().parse_override(*overrides).value() for overrides in written]
    assert read == values and list(map(type, read)) == list(map(type, values))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    (dimension,) = found.dimensions.values()
    drawn = {dimension.text(dimension.suggest(study.ask())) for _ in range(40)}
    assert drawn == {overrides[0].partition("=")[2] for overrides in written}


@pytest.mark.parametrize(
    ("text", "kind", "log"),
    [
        ("optim.base_lr=interval(1e-7,1e-3)", float, False),
        ("optim.base_lr=tag(log,interval(1e-7,1e-3))", float, True),
        ("model.depth=int(interval(1,100))", int, False),
        ("model.depth=tag(log,int(interval(1,100)))", int, True),
    ],
)
def test_intervals_come_back_from_hydra_bit_for_bit(text: str, kind: type, log: bool) -> None:
    found, study = parsed("seed=3", text), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        asked = study.ask()
        values = {key: dimension.suggest(asked) for key, dimension in found.dimensions.items()}
        fixed, swept = found.overrides(values)
        read = OverridesParser.create().parse_override(swept).value()
        assert fixed == "seed=3" and [read] == list(values.values()) and type(read) is kind
    (distribution,) = study.trials[0].distributions.values()
    assert distribution.log is log


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed=1", "Nothing to search"),
        ("optim.base_lr=tag(logarithmic,interval(1,2))", "the tag logarithmic is not supported here; allowed: log"),
        ("optim.base_lr=tag(log,choice(1e-3,1e-2))", "the tag log is not supported here"),
        ("optim.base_lr=tag(log,interval(0,1))", "numbers above 0"),
        ("optim.base_lr=interval(2,1)", "begins with its lower number"),
        ("model.depth=interval(2,12)", "give int(interval(2, 12))"),
        ("model=interval(1,2)", "model is a group of options"),
        ("seed=shuffle(1,2)", "the sampler decides"),
        ("seed=1,2,1", "1 is given twice"),
        ("model.depth=range(3,3)", "matches nothing"),
        ("sweep.retries=0,1", "cannot change a result"),
    ],
)
def test_what_no_search_can_draw_from_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match="(?s)" + said.replace("(", r"\(").replace(")", r"\)")):
        parsed(text)


def test_a_value_is_refused_only_where_it_fails_in_every_combination() -> None:
    def check(overrides: list[str]) -> list[str]:
        given = dict(text.split("=") for text in overrides)
        if int(given["model.embed_dim"]) % int(given["model.num_heads"]):
            raise UserError("not a multiple")
        if "optim" in given and given["optim"] == "adan":
            raise UserError("optim is 'adan'")
        return overrides

    numbers = ("model.embed_dim=128,192", "model.num_heads=2,3")
    assert ["model.embed_dim=192", "model.num_heads=3"] in parsed(*numbers).probe(check)
    with pytest.raises(UserError, match=r"^optim is 'adan'$"):
        parsed(*numbers, "optim=adamw,adan").probe(check)


# --- asking and telling


class Bench:
    """A search whose trials end as the test says; it writes down what the loop of a sweep would."""

    def __init__(self, folder: Path) -> None:
        self.sweep = SweepDirectory(folder)
        self.config = composed("experiment=quickstart", "schedule.epochs=9", f"runs_dir={folder}/runs")
        self.refused: Sequence[str] = ()
        self.dies = False

    def open(self, *texts: str, n_trials: int | None = 4, sampler: dict = RANDOM, pruner: dict = NONE, **given) -> Search:
        objectives = given.pop("objectives", ["best/val_top1"])
        directions = given.pop("directions", ["maximize"])
        settings = Settings(n_trials, given.pop("seed", 0), sampler, pruner)
        self.search = Search(self.sweep, self.make, parsed(*(texts or (LR,))), settings, objectives, directions, 9)
        return self.search

    def make(self, number: int, overrides: list[str], swept: dict[str, str]) -> Trial:
        if self.dies:
            raise KeyboardInterrupt
        for text in overrides:
            if text in self.refused:
                raise UserError(f"{text} breaks a rule")
        run = directory.create(self.config.runs_dir, "bench")
        frozen.save(self.config, run.config)
        return Trial(number, overrides, swept, str(run.path), f"identity {number}", 1)

    def start(self) -> Trial:
        """The next trial, as a free card takes it."""
        (trial,) = self.search.waiting()
        trial.state = RUNNING
        self.save()
        return trial

    def save(self) -> None:
        self.sweep.write_trials(self.search.trials)

    def evaluate(self, trial: Trial, epoch: int, top1: float) -> None:
        """Write an evaluation into the trial's journal, as a training does."""
        journal = Journal(trial.directory.journal)
        journal.metrics(22 * epoch, {"train/epoch": epoch})
        journal.metrics(22 * epoch, {"val/top1": top1, "val/loss": 5 - top1 / 100})
        journal.metrics(22 * epoch, {"best/val_top1": top1})
        journal.close()

    def end(self, trial: Trial, state: str = FINISHED, top1: float | None = None) -> None:
        if top1 is not None:
            self.evaluate(trial, 9, top1)
        trial.state = state
        self.search.ended(trial)
        self.save()

    def study(self) -> list[optuna.trial.FrozenTrial]:
        return optuna.load_study(study_name=STUDY, storage=f"sqlite:///{self.sweep.study}").trials


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_free_cards_get_trials_at_once_until_there_are_enough(bench: Bench) -> None:
    search = bench.open(n_trials=3)
    (first,) = search.waiting()
    assert list(search.waiting()) == [first]  # one is proposed at a time, as late as can be
    first.state = RUNNING
    running = [first, bench.start(), bench.start()]
    assert [trial.number for trial in running] == [0, 1, 2] and not search.waiting() and search.exhausted
    assert len({trial.label for trial in running}) == 3
    bench.end(running[1], top1=50.0)
    assert [record.state.name for record in bench.study()] == ["RUNNING", "COMPLETE", "RUNNING"]
    assert bench.study()[1].values == [50.0] and running[1].objectives == [50.0]


@pytest.mark.parametrize("sampler", [RANDOM, TPE, {"name": "cmaes"}], ids=lambda sampler: sampler["name"])
def test_a_search_that_goes_on_proposes_what_it_would_have(sampler: dict, tmp_path: Path) -> None:
    def labels(folder: Path, reopen: bool) -> list[str]:
        bench = Bench(folder)
        bench.open(LR, "model.drop_path_rate=interval(0,0.3)", n_trials=4, sampler=sampler)
        for number in range(4):
            if reopen:
                bench.open(LR, "model.drop_path_rate=interval(0,0.3)", n_trials=4, sampler=sampler)
            bench.end(bench.start(), top1=10.0 * number)
        return [trial.label for trial in bench.search.trials]

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = labels(tmp_path / "whole", reopen=False)
    assert labels(tmp_path / "parts", reopen=True) == whole and len(set(whole)) == 4


def test_tpe_learns_where_it_is_good(bench: Bench) -> None:
    bench.open("optim.base_lr=interval(0,1)", n_trials=20, sampler={"name": "tpe", "n_startup_trials": 8})
    while bench.search.waiting():
        trial = bench.start()
        bench.end(trial, top1=100 - 100 * abs(float(trial.swept["optim.base_lr"]) - 0.7))
    late = [float(trial.swept["optim.base_lr"]) for trial in bench.search.trials[-8:]]
    assert sum(abs(value - 0.7) < 0.15 for value in late) >= 6


def test_grid_tries_every_combination_once_in_order_also_after_a_kill(bench: Bench) -> None:
    texts = ("optim=adamw,sgd", "model.depth=range(2,5)")
    bench.open(*texts, n_trials=None, sampler={"name": "grid"})
    for _ in range(3):
        bench.end(bench.start(), top1=1.0)
    bench.open(*texts, n_trials=None, sampler={"name": "grid"})
    while bench.search.waiting():
        bench.end(bench.start(), top1=1.0)
    assert [trial.label for trial in bench.search.trials] == [
        f"optim={optim} depth={depth}" for optim in ("adamw", "sgd") for depth in (2, 3, 4)
    ]
    assert bench.search.exhausted and bench.search.problem is None and len(bench.study()) == 6


def test_several_objectives_by_nsga2(bench: Bench) -> None:
    aims = {"objectives": ["best/val_top1", "val/loss"], "directions": ["maximize", "minimize"]}
    bench.open(n_trials=5, sampler={"name": "nsga2", "population_size": 2}, **aims)
    while bench.search.waiting():
        trial = bench.start()
        bench.end(trial, top1=trial.number)
    assert [record.values for record in bench.study()] == [[n, pytest.approx(5 - n / 100)] for n in range(5)]


def test_optuna_hears_how_trials_end(bench: Bench) -> None:
    bench.open(n_trials=4)
    failed, without, pruned, interrupted = (bench.start() for _ in range(4))
    bench.end(failed, FAILED)
    bench.end(without, FINISHED)
    bench.evaluate(pruned, 1, 12.0)
    bench.end(pruned, PRUNED)
    bench.end(interrupted, INTERRUPTED)
    assert [record.state.name for record in bench.study()] == ["FAIL", "FAIL", "PRUNED", "RUNNING"]
    assert without.state == FAILED and "best/val_top1" in (without.message or "")
    # It goes on from its checkpoint, and ends as the same trial of the study; so does a failed one that is tried again.
    interrupted.state = failed.state = WAITING
    bench.save()
    bench.open(n_trials=4)
    again = bench.search.waiting()
    assert [trial.number for trial in again] == [failed.number, interrupted.number]
    for trial in again:
        bench.end(trial, top1=33.0)
    assert [record.state.name for record in bench.study()] == ["FAIL", "FAIL", "PRUNED", "COMPLETE", "COMPLETE"]
    assert [record.user_attrs["trial"] for record in bench.study()] == [0, 1, 2, 3, 0]
    assert bench.study()[4].params == bench.study()[0].params
    assert not bench.search.waiting() and bench.search.exhausted


def test_results_count_before_mlflow_has_them(bench: Bench) -> None:
    bench.open(n_trials=2)
    trial = bench.start()
    bench.evaluate(trial, 9, 44.0)
    status.write(trial.directory, status.Status(FINISHED, released=True))
    bench.start()
    assert bench.study()[0].values == [44.0] and trial.state == RUNNING
    bench.end(trial)
    assert len(bench.study()) == 2 and trial.objectives == [44.0]


def test_a_kill_between_study_and_trials_loses_nothing(bench: Bench) -> None:
    bench.open()
    finished = bench.start()
    bench.evaluate(finished, 9, 70.0)
    finished.state = FINISHED
    bench.save()  # and Optuna was not told
    bench.dies = True  # after the proposal, before the trial was written
    with pytest.raises(KeyboardInterrupt):
        bench.search.waiting()
    proposed = bench.study()[1].params
    bench.dies = False
    bench.open()
    assert bench.study()[0].values == [70.0]
    trial = bench.start()
    assert trial.number == 1 and float(trial.swept["optim.base_lr"]) == proposed["optim.base_lr"]
    assert len(bench.study()) == 2


def test_a_combination_that_breaks_a_rule_is_passed_over(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.refused = ("model.depth=3",)
    bench.open("model.depth=2,3,4", n_trials=None, sampler={"name": "grid"})
    while bench.search.waiting():
        bench.end(bench.start(), top1=1.0)
    assert [trial.label for trial in bench.search.trials] == ["depth=2", "depth=4"]
    assert [record.state.name for record in bench.study()] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert "not tried: model.depth=3: model.depth=3 breaks a rule" in capsys.readouterr().err


def test_fruitless_proposals_end_the_search(bench: Bench) -> None:
    bench.refused = ("model.depth=2", "model.depth=3")
    bench.open("model.depth=2,3,4", n_trials=8)
    while bench.search.waiting():
        bench.end(bench.start(), top1=1.0)
    assert [trial.label for trial in bench.search.trials] == ["depth=4"] and bench.search.exhausted
    assert f"ended after 1 trials: {FRUITLESS} proposals in a row" in (bench.search.problem or "")
    # What was tried before is not run again: its result is known.
    doubles = [record for record in bench.study() if "same_as" in record.user_attrs]
    assert {record.values[0] for record in doubles if record.state == TrialState.COMPLETE} == {1.0}


def test_a_search_is_held_to_its_beginning(bench: Bench) -> None:
    bench.open("augment=deit", LR)
    bench.open("augment=deit", LR, "tracking=none", "sweep.retries=1", n_trials=9)
    bench.open("augment=deit", LR.replace(",", ", "))
    for texts, said in (
        (("augment=deit", "seed=1,2"), f"with {LR} and without seed=1,2."),
        (("augment=none", LR), "with augment=deit and without augment=none."),
    ):
        with pytest.raises(UserError, match=re.escape(f"It was started with {said}")):
            bench.open(*texts)
    with pytest.raises(UserError, match=r"without maximize val/top1"):
        bench.open("augment=deit", LR, objectives=["val/top1"])


# --- pruning


def test_median_ends_the_trial_that_falls_behind(bench: Bench) -> None:
    bench.open(pruner=MEDIAN)
    good = bench.start()
    for epoch in range(1, 10):
        bench.evaluate(good, epoch, 10.0 * epoch)
        assert bench.search.to_prune([good]) == {}
    bench.end(good)
    bad, fair = bench.start(), bench.start()
    for trial, values in ((bad, (10.0, 20.0)), (fair, (11.0, 21.0))):
        for epoch, top1 in enumerate(values, start=1):
            bench.evaluate(trial, epoch, top1)
    assert bench.search.to_prune([bad, fair]) == {}
    bench.open(pruner=MEDIAN)  # what was reported stays so
    bad, fair = bench.search.trials[1:]
    bench.evaluate(bad, 3, 12.0)
    bench.evaluate(fair, 3, 31.0)
    assert bench.search.to_prune([bad, fair]) == {1: "val/top1 12 in epoch 3, by median"}
    bench.end(bad, PRUNED)
    bench.evaluate(fair, 9, 0.5)  # its last: there is nothing left to save
    assert bench.search.to_prune([fair]) == {}
    bench.end(fair)
    late = bench.start()
    bench.end(late, top1=99.0)  # it ended before anybody looked
    first, second, third, fourth = bench.study()
    assert first.intermediate_values == {epoch: 10.0 * epoch for epoch in range(1, 10)}
    assert second.state == TrialState.PRUNED and second.intermediate_values == {1: 10.0, 2: 20.0, 3: 12.0}
    assert third.intermediate_values == {1: 11.0, 2: 21.0, 3: 31.0, 9: 0.5}
    assert fourth.intermediate_values == {9: 99.0}


def test_hyperband_lets_about_a_third_go_on(bench: Bench) -> None:
    bench.open(n_trials=12, pruner=HYPERBAND)
    for trial in [bench.start() for _ in range(12)]:
        for epoch in range(1, 10):
            bench.evaluate(trial, epoch, 80.0 - 3 * trial.number)  # each worse than those before
            if bench.search.to_prune([trial]):
                bench.end(trial, PRUNED)
                break
        else:
            bench.end(trial)
    cut = [record.last_step for record in bench.study() if record.state == TrialState.PRUNED]
    assert bench.study()[0].state == TrialState.COMPLETE and len(cut) >= 4 and set(cut) <= {1, 3}


@pytest.mark.parametrize(
    ("sampler", "pruner", "text", "objectives", "said"),
    [
        (RANDOM, NONE, LR, ["val/top1"], "n_trials is not set"),
        ({"name": "grid"}, NONE, LR, ["val/top1"], "no single values"),
        ({"name": "cmaes"}, NONE, "seed=1,2", ["val/top1"], "moves along numbers"),
        ({"name": "cmaes"}, NONE, LR, ["val/top1", "val/loss"], "one objective"),
        ({"name": "nsga2", "population_size": 1}, NONE, LR, ["val/top1", "val/loss"], "population_size"),
        (TPE, MEDIAN, LR, ["val/top1", "val/loss"], "uses one metric"),
        (TPE, MEDIAN, LR, ["perf/step_ms"], "do not have perf/step_ms"),
        (TPE, {**HYPERBAND, "min_resource": 10}, LR, ["val/top1"], "min_resource is 10 and max_resource 9"),
    ],
)
def test_settings_that_do_not_go_together(sampler: dict, pruner: dict, text: str, objectives: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        samplers.check(Settings(None if "not set" in said else 3, 0, sampler, pruner), parsed(text), objectives, 9)


# --- the command


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
def test_mistakes_end_before_the_first_trial(typed: tuple[str, ...], said: str, command, tmp_path: Path) -> None:
    outcome = command("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "experiment=quickstart", *typed)
    assert outcome.code == 2 and said in outcome.err and "Traceback" not in outcome.err
    assert not list(tmp_path.iterdir())


def test_without_the_package_the_message_says_what_to_install(tmp_path: Path) -> None:
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


def test_a_killed_search_goes_on_and_prunes(background: Callable[..., Running], tmp_path: Path) -> None:
    """Four real trainings: the launcher is killed in the second; of the last, which learns nothing, most is left out."""
    epochs = 24  # seconds from the first checkpoint, by which a trial is stopped, to the end
    typed = (
        "-m",
        "hydra/sweeper=optuna",
        "hydra/sweeper/sampler=grid",
        "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=2",
        "hydra.sweeper.pruner.n_warmup_steps=4",  # before, all are about as good as guessing
        *(text for text in SMALL if not text.startswith(("model.drop_path", "schedule.epochs"))),
        f"schedule.epochs={epochs}",
        "schedule.min_lr=0",
        "augment=none",
        "ema=none",
        "tracking=none",
        "sweep.cards=1",
        "sweep.objectives=[val/loss]",
        "sweep.directions=[minimize]",
        "optim.base_lr=1e-2,2e-2,1e-5",
    )
    typed = tuple(text for text in typed if not text.startswith("ema.decay"))
    first = background(*typed)
    second_trial = trial_with(first, 1, checkpoint.complete)
    signal_workers(second_trial, signal.SIGSTOP)
    first.process.kill()
    assert first.process.wait() == -signal.SIGKILL
    signal_workers(second_trial, signal.SIGCONT)
    resumed = background("sweep.resume=last")
    # The last trial stands still until it is told to end, as one of hours would be at work for a while yet.
    judged = checkpoint.folder_name(4 * 8)
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
