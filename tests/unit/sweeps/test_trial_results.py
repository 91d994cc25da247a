"""The results of a sweep: rows, ranks, means over seeds and folds, and which settings differ significantly."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from sweeps_on_disk import hostile_grid, make_run, make_sweep, trial

from deit.runs import status
from deit.runs.journal import Journal
from deit.runs.outcome import FINISHED
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import RUNNING, WAITING, Attempt, Trial
from deit.sweeps import trial_results
from deit.sweeps.reporting import report_files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SweepDirectory:
    return hostile_grid(tmp_path_factory.mktemp("sweep"))


def test_rows_have_ranks_times_and_results(made: SweepDirectory) -> None:
    found = trial_results.read(made)
    best, last = found.ranked()[0], found.ranked()[-1]
    assert best.trial.label == "base_lr=1e-3 augment=deit seed=1" and best.rank == 1 and best.objectives == [92.5]
    assert best.results["best/val_top1"] == pytest.approx(92.5) and best.results["last/val_epoch"] == 10
    assert last.trial.state == "failed" and last.rank is None and last.objectives == [None]
    twice = found.rows[15]  # killed after 20 s, then 30 s
    assert twice.seconds == 50 and twice.card_seconds == 50 and len(twice.spans) == 2


def test_settings_are_ranked_by_their_mean_over_seeds(made: SweepDirectory) -> None:
    settings = trial_results.read(made).settings
    assert len(settings) == 8
    best = settings[0]
    assert best.swept == {"optim.base_lr": "1e-3", "augment": "deit"}
    assert best.mean == [92.25] and best.deviation == [pytest.approx(0.5 / math.sqrt(2))]
    assert (best.intervals[0].low, best.intervals[0].high) == pytest.approx((89.0734, 95.4266), abs=1e-4)  # t, 1 degree


def seeds(folder: Path, values: dict[str, list[float]], images: int | None = None, repeated: str = "seed") -> SweepDirectory:
    """A sweep over ``x`` and, if there are several values, the seed or another ``repeated`` key."""
    trials = []
    for x, several in values.items():
        for number, value in enumerate(several):
            swept = {"x": x} | ({repeated: str(number)} if len(several) > 1 else {})
            trials.append(trial(folder, len(trials), [value], **swept))
            entry = {"top1": value} | ({} if images is None else {"images": images})
            status.write(trials[-1].directory, status.Status(FINISHED, results={"best": {"val": entry}}))
    return make_sweep(folder, trials)


def test_best_setting_has_the_highest_mean_not_the_best_trial(tmp_path: Path) -> None:
    sweep = seeds(tmp_path, {"lucky": [95.0, 80.0, 82.0], "steady": [90.0, 90.5, 91.0], "bad": [50.0, 51.0, 50.5]})
    report_files.write(sweep)
    found = trial_results.read(sweep)
    assert found.ranked()[0].trial.swept["x"] == "lucky"
    assert [setting.swept["x"] for setting in found.settings] == ["steady", "lucky", "bad"]
    verdicts = [trial_results.against_best(setting, found.settings[0]) for setting in found.settings]
    assert verdicts == ["best", "not distinguishable", "worse"]
    said = found.verdict()
    assert said is not None and said.startswith("best setting: x=steady, best/val_top1 90.500 (mean of 3 seeds); 1 of 2 others")
    text = sweep.summary_md.read_text()
    assert "| lucky | 3 | 85.667 \\[65.435, 100.000\\] | 8.1 | not distinguishable | 0, 1, 2 |" in text
    assert '"against_best":"not distinguishable"' in sweep.report.read_text()


def test_folds_are_averaged_like_seeds(tmp_path: Path) -> None:
    sweep = seeds(tmp_path, {"a": [90.0, 80.0, 82.0], "b": [60.0, 60.5, 61.0]}, repeated="data.fold")
    report_files.write(sweep)
    found = trial_results.read(sweep)
    assert [setting.mean for setting in found.settings] == [[84.0], [60.5]]
    said = found.verdict()
    assert said is not None and said.startswith("best setting: x=a, best/val_top1 84 (mean of 3 folds)")
    text = sweep.summary_md.read_text()
    assert "| x | folds |" in text and "Student's t over the folds (whose trainings share images" in text
    assert '"repeats":"folds"' in sweep.report.read_text()


def test_single_seed_gets_the_wilson_interval_of_its_images(tmp_path: Path) -> None:
    found = trial_results.read(seeds(tmp_path, {"a": [71.0], "b": [70.0], "c": [40.0]}, images=100))
    assert trial_results.with_intervals(found.settings, 0) == [
        *("71.000 [61.461, 78.985]", "70.000 [60.415, 78.105]", "40.000 [30.940, 49.800]")  # Wilson
    ]
    verdicts = [trial_results.against_best(setting, found.settings[0]) for setting in found.settings]
    assert verdicts == ["best", "not distinguishable", "worse"] and not found.repeated


def test_significance_is_unknown_without_seeds_or_images(tmp_path: Path) -> None:
    found = trial_results.read(seeds(tmp_path, {"a": [71.0], "b": [40.0]}))
    assert [setting.distinguishable for setting in found.settings] == [None, None]
    said = found.verdict()
    assert said is not None and said.endswith("1 cannot be tested: sweep several seeds")


def test_unfinished_trials_have_results_but_no_rank(tmp_path: Path) -> None:
    """A running trial shows what its journal has so far, a waiting one nothing; neither is ranked."""
    running, waiting = trial(tmp_path, 0, None, RUNNING, seed="0"), trial(tmp_path, 1, None, WAITING, seed="1")
    journal = Journal(running.directory.journal)
    for step, value in ((4, 31.0), (8, 47.0)):
        journal.metrics(step, {"best/val_top1": value, "val/top1": value, "train/epoch": step / 4})
    journal.close()
    status.write(running.directory, status.Status(status.RUNNING, progress={"best": {"val": {"top1": 47.0}}}))
    updated = status.read(running.directory).updated
    running.attempts = [Attempt(updated - 60, [0])]
    sweep = make_sweep(tmp_path, [running, waiting])
    report_files.write(sweep)
    rows = trial_results.read(sweep).rows
    assert rows[0].objectives == [47.0] and rows[0].rank is None and rows[0].seconds == pytest.approx(60)
    assert rows[0].results == {"best/val_top1": 47.0} and rows[1].objectives == [None]
    assert "1 running, 1 waiting" in sweep.summary_md.read_text()


def test_pareto_ranks(tmp_path: Path) -> None:
    """Accuracy high, time low: the front first, ordered by the first objective; nan never ranks."""
    values = [[80.0, 5.0], [90.0, 9.0], [85.0, 9.5], [79.0, 5.0], [math.nan, 1.0]]
    trials = [trial(tmp_path, number, value, seed=str(number)) for number, value in enumerate(values)]
    names, ways = ("best/val_top1", "perf/step_ms"), ("maximize", "minimize")
    rows = trial_results.read(make_sweep(tmp_path, trials, objectives=names, directions=ways)).rows
    assert [row.rank for row in rows] == [2, 1, 3, 4, None]
    assert [row.front for row in rows] == [True, True, False, False, False]


def test_ranks_equal_those_of_a_naive_search_for_fronts(tmp_path: Path) -> None:
    draw = random.Random(0)
    run = make_run(tmp_path)
    points = [[float(draw.randrange(8)), float(draw.randrange(8))] for _ in range(60)]
    trials = [Trial(i, [], {}, str(run.path), str(i), 1, FINISHED, None, point) for i, point in enumerate(points)]
    sweep = make_sweep(tmp_path, trials, objectives=("a", "b"), directions=("minimize", "minimize"))
    rows, left, depth = trial_results.read(sweep).rows, set(range(60)), {}
    while left:
        front = {
            i
            for i in left
            if not any(points[j] != points[i] and points[j][0] <= points[i][0] and points[j][1] <= points[i][1] for j in left)
        }
        depth |= dict.fromkeys(front, len(depth))
        left -= front
    by_rank = sorted(range(60), key=lambda i: rows[i].rank or 0)
    assert [depth[i] for i in by_rank] == sorted(depth.values())
    assert {i for i in range(60) if rows[i].front} == {i for i in range(60) if depth[i] == 0}
