"""A search: proposals, results, pruning, and resuming after a kill, with real Optuna studies and made-up trials."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from composition import composed
from optuna.trial import TrialState
from search_settings import HYPERBAND, LR, MEDIAN, NONE, RANDOM, TPE, parsed

from deit.config import frozen
from deit.errors import UserError
from deit.runs import directory, status
from deit.runs.journal import Journal
from deit.runs.outcome import FAILED, FINISHED, INTERRUPTED
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import PRUNED, RUNNING, WAITING, Trial
from deit.sweeps.samplers import Settings
from deit.sweeps.search import FRUITLESS, STUDY, Search


class Bench:
    """A search whose trials end as the test decides; it writes the records that the loop of a sweep would."""

    def __init__(self, folder: Path) -> None:
        self.sweep = SweepDirectory(folder)
        self.config = composed("experiment=quickstart", "schedule.epochs=9", f"runs_dir={folder}/runs")
        self.refused: Sequence[str] = ()
        self.dies = False

    def open(self, *texts: str, n_trials: int | None = 4, sampler: dict = RANDOM, pruner: dict = NONE, **given) -> Search:
        goals = {"objectives": ["best/val_top1"], "directions": ["maximize"]}
        aims = dataclasses.replace(self.config.sweep, **{name: given.pop(name, goals[name]) for name in goals})
        settings = Settings(n_trials, given.pop("seed", 0), sampler, pruner)
        self.search = Search(self.sweep, self.make, parsed(*(texts or (LR,))), settings, aims, 9)
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


def test_free_cards_get_trials_until_n_trials_is_reached(bench: Bench) -> None:
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
def test_resumed_search_makes_the_same_proposals(sampler: dict, tmp_path: Path) -> None:
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


def test_tpe_concentrates_on_the_best_region(bench: Bench) -> None:
    bench.open("optim.base_lr=interval(0,1)", n_trials=20, sampler={"name": "tpe", "n_startup_trials": 8})
    while bench.search.waiting():
        trial = bench.start()
        bench.end(trial, top1=100 - 100 * abs(float(trial.swept["optim.base_lr"]) - 0.7))
    late = [float(trial.swept["optim.base_lr"]) for trial in bench.search.trials[-8:]]
    assert sum(abs(value - 0.7) < 0.15 for value in late) >= 6


def test_grid_runs_every_combination_once_in_order_even_if_reopened(bench: Bench) -> None:
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


def test_nsga2_records_several_objectives(bench: Bench) -> None:
    aims = {"objectives": ["best/val_top1", "val/loss"], "directions": ["maximize", "minimize"]}
    bench.open(n_trials=5, sampler={"name": "nsga2", "population_size": 2}, **aims)
    while bench.search.waiting():
        trial = bench.start()
        bench.end(trial, top1=trial.number)
    assert [record.values for record in bench.study()] == [[n, pytest.approx(5 - n / 100)] for n in range(5)]


def test_study_records_how_trials_end(bench: Bench) -> None:
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


def test_results_are_used_before_the_trial_process_ends(bench: Bench) -> None:
    bench.open(n_trials=2)
    trial = bench.start()
    bench.evaluate(trial, 9, 44.0)
    status.write(trial.directory, status.Status(FINISHED, released=True))
    bench.start()
    assert bench.study()[0].values == [44.0] and trial.state == RUNNING
    bench.end(trial)
    assert len(bench.study()) == 2 and trial.objectives == [44.0]


def test_kill_between_study_and_trials_file_loses_nothing(bench: Bench) -> None:
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


def test_combination_that_breaks_a_rule_is_skipped(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.refused = ("model.depth=3",)
    bench.open("model.depth=2,3,4", n_trials=None, sampler={"name": "grid"})
    while bench.search.waiting():
        bench.end(bench.start(), top1=1.0)
    assert [trial.label for trial in bench.search.trials] == ["depth=2", "depth=4"]
    assert [record.state.name for record in bench.study()] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert "not tried: model.depth=3: model.depth=3 breaks a rule" in capsys.readouterr().err


def test_search_ends_after_too_many_rejected_or_repeated_proposals(bench: Bench) -> None:
    bench.refused = ("model.depth=2", "model.depth=3")
    bench.open("model.depth=2,3,4", n_trials=8)
    while bench.search.waiting():
        bench.end(bench.start(), top1=1.0)
    assert [trial.label for trial in bench.search.trials] == ["depth=4"] and bench.search.exhausted
    assert f"ended after 1 trials: {FRUITLESS} proposals in a row" in (bench.search.problem or "")
    # What was tried before is not run again: its result is known.
    duplicates = [record for record in bench.study() if "same_as" in record.user_attrs]
    assert {record.values[0] for record in duplicates if record.state == TrialState.COMPLETE} == {1.0}


def test_resumed_search_must_have_the_same_space_and_objectives(bench: Bench) -> None:
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


def test_median_pruner_stops_a_trial_below_the_median(bench: Bench) -> None:
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


def test_hyperband_continues_about_a_third(bench: Bench) -> None:
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
