"""What is made of a sweep: rows and ranks, importance, summaries, the page in a real browser, links, MLflow, task=report."""

from __future__ import annotations

import csv
import html
import json
import math
import os
import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from browser import browse, needs_browser
from command import ROOT, Outcome
from sweeps_on_disk import BEGAN, failed, grid, make_run, make_sweep, train

from deit.files import write_json
from deit.runs import status
from deit.runs.journal import Journal
from deit.runs.outcome import FINISHED
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import RUNNING, WAITING, Attempt, Trial
from deit.sweeps import trial_results
from deit.sweeps.reporting import curves, links, report_files, summary
from deit.sweeps.reporting.importance import importance
from deit.sweeps.reporting.parameters import parameters
from deit.tracking import progress
from deit.tracking import uri as store

HOSTILE = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>{{script}}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SweepDirectory:
    """A grid of 16 finished trials and a failed one whose texts are hostile, with its files."""
    folder = tmp_path_factory.mktemp("sweep")
    trials = grid(folder)
    trials.append(failed(folder, len(trials), ["optim.base_lr=1", f"augment={HOSTILE}", "seed=0"], f"nan {HOSTILE}"))
    password = "tracking.uri=postgresql://me:sesame@db/mlflow"
    sweep = make_sweep(folder, trials, typed=["-m", password, f"name={HOSTILE}"], cards=2)
    report_files.write(sweep)
    return sweep


def trial(folder: Path, number: int, objectives: list[float] | None, state: str = FINISHED, **swept: str) -> Trial:
    run = make_run(folder)
    return Trial(number, [f"{k}={v}" for k, v in swept.items()], swept, str(run.path), str(number), 1, state, None, objectives)


# --- rows ---


def test_rows_tell_ranks_times_and_results(made: SweepDirectory) -> None:
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
    """A sweep over ``x`` and, where there are several values, the seed or what else is ``repeated``."""
    trials = []
    for x, several in values.items():
        for number, value in enumerate(several):
            swept = {"x": x} | ({repeated: str(number)} if len(several) > 1 else {})
            trials.append(trial(folder, len(trials), [value], **swept))
            entry = {"top1": value} | ({} if images is None else {"images": images})
            status.write(trials[-1].directory, status.Status(FINISHED, results={"best": {"val": entry}}))
    return make_sweep(folder, trials)


def test_a_lucky_trial_is_not_the_best_setting(tmp_path: Path) -> None:
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


def test_one_seed_has_the_binomial_interval_of_its_images(tmp_path: Path) -> None:
    found = trial_results.read(seeds(tmp_path, {"a": [71.0], "b": [70.0], "c": [40.0]}, images=100))
    assert trial_results.with_intervals(found.settings, 0) == [
        *("71.000 [61.461, 78.985]", "70.000 [60.415, 78.105]", "40.000 [30.940, 49.800]")  # Wilson
    ]
    verdicts = [trial_results.against_best(setting, found.settings[0]) for setting in found.settings]
    assert verdicts == ["best", "not distinguishable", "worse"] and not found.repeated


def test_without_seeds_and_images_nothing_is_claimed(tmp_path: Path) -> None:
    found = trial_results.read(seeds(tmp_path, {"a": [71.0], "b": [40.0]}))
    assert [setting.distinguishable for setting in found.settings] == [None, None]
    said = found.verdict()
    assert said is not None and said.endswith("1 cannot be tested: sweep several seeds")


def test_a_sweep_at_work(tmp_path: Path) -> None:
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


def test_ranks_are_those_of_a_plain_search_for_fronts(tmp_path: Path) -> None:
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


# --- importance ---


def test_swept_values_are_numbers_or_categories(made: SweepDirectory) -> None:
    rate, augment, seed = parameters(trial_results.read(made))
    assert rate.numeric and rate.log and rate.levels == [1e-4, 5e-4, 1e-3, 5e-3, 1.0]
    assert not augment.numeric and not seed.numeric


def test_importance_finds_what_matters(made: SweepDirectory) -> None:
    found = importance(trial_results.read(made))
    assert found.reason is None and found.r2 is not None and found.r2 > 0.5 and found.trials == 16
    assert list(found.shares) == ["optim.base_lr", "augment", "seed"] and found.shares["optim.base_lr"] > 0.8
    assert sum(found.shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("count", "values", "told"),
    [
        (6, float, "2 keys need at least 8 finished trials, there are 6"),
        (16, lambda i: float((i * 7919) % 13), "no better than their mean"),
        (16, lambda i: 5.0, "is the same in all finished trials"),
    ],
    ids=["too few", "noise", "constant"],
)
def test_importance_invents_nothing(tmp_path: Path, count: int, values: Callable[[int], float], told: str) -> None:
    run = make_run(tmp_path)
    swept = [{"a.x": str(i % 4), "a.y": "pq"[i // 4 % 2]} for i in range(count)]
    trials = [Trial(i, [], swept[i], str(run.path), str(i), 1, FINISHED, None, [values(i)]) for i in range(count)]
    found = importance(trial_results.read(make_sweep(tmp_path, trials)))
    assert not found.shares and told in (found.reason or "")


# --- curves ---


def test_curves_are_thinned_but_keep_their_ends_and_peaks() -> None:
    curve = [(float(i), math.sin(i / 50) + (5.0 if i == 777 else 0.0)) for i in range(2000)]
    thin = curves.thin(curve, 40)
    assert len(thin) == 40 and thin[0] == curve[0] and thin[-1] == curve[-1] and curve[777] in thin
    assert thin == sorted(thin) and set(thin) <= set(curve)
    assert curves.thin(curve[:40], 40) == curve[:40]


def test_curves_go_over_epochs_and_leave_out_what_diverged(tmp_path: Path) -> None:
    one = trial(tmp_path, 3, [1.0], seed="1")
    journal = Journal(one.directory.journal)
    for step, loss in ((5, 2.0), (10, 1.0), (15, math.nan)):
        journal.metrics(step, {"train/loss": loss, "train/epoch": step / 10})
    journal.close()
    assert curves.curves(trial_results.read(make_sweep(tmp_path, [one]))) == {"train/loss": {3: [(0.5, 2.0), (1.0, 1.0)]}}


def test_the_page_of_300_trials_stays_small(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    train(run, 70.0, epochs=100, steps=2)
    trials = [
        Trial(i, [f"seed={i}", "x=y"], {"seed": str(i)}, str(run.path), str(i), 1, FINISHED, None, [70.0]) for i in range(300)
    ]
    sweep = make_sweep(tmp_path, trials)
    report_files.write(sweep)
    assert sweep.report.stat().st_size < 2_000_000


# --- the files ---


def test_summary_csv_holds_every_trial(made: SweepDirectory) -> None:
    lines = list(csv.DictReader(made.summary_csv.read_text().splitlines()))
    assert len(lines) == 17 and lines[0]["rank"] == "1" and lines[0]["optim.base_lr"] == "1e-3"
    assert float(lines[0]["best/val_top1"]) == 92.5 and float(lines[0]["last/val_epoch"]) == 10
    assert lines[-1]["augment"] == HOSTILE and lines[-1]["rank"] == "" and lines[-1]["state"] == "failed"
    assert Path(lines[0]["run"]).is_dir() and lines[0]["seconds"] == "55.0"


def test_summary_md_shows_texts_as_they_are(made: SweepDirectory) -> None:
    text = made.summary_md.read_text()
    tables = "\n".join(line for line in text.splitlines() if line.startswith(("|", "-")))
    assert "<script>" not in tables and "&lt;script&gt;" in tables
    assert (
        "| 92.250 \\[89.073, 95.427\\] | 0.35 | best |" in text
        and "17 trials: 16 finished, 1 failed" in text
        and "| optim.base\\_lr |" in text
    )
    widths = {line.count(" | ") for line in text.split("## Trials")[1].split("##")[0].splitlines() if line}
    assert len(widths) == 1


def test_texts_with_bars_and_line_ends_keep_a_table_whole() -> None:
    assert summary.escaped("a|b\n`c` <i>") == r"a\|b \`c\` &lt;i&gt;"


def test_credentials_stay_out_of_every_file(made: SweepDirectory) -> None:
    for path in (made.report, made.summary_md, made.summary_csv):
        assert "sesame" not in path.read_text()
    assert "***@db" in made.report.read_text()


def test_the_page_holds_its_data_and_loads_nothing(made: SweepDirectory) -> None:
    text = made.report.read_text()
    assert text.count("<script") == 2 and text.count("</script>") == 2 and "<img" not in text
    assert not re.search(r"""(src|href)=["'](?!http://www\.w3\.org)""", text.split("<script>")[0])
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    assert data["trials"][16]["message"] == f"nan {HOSTILE}" and len(data["curves"]["val/top1"]) == 16
    policy = html.unescape(re.search(r'Content-Security-Policy" content="(.*?)"', text)[1])  # type: ignore[index]
    assert policy.startswith("default-src 'none'") and "script-src 'sha256-" in policy


# --- the page in a browser ---


@needs_browser
def test_the_page_draws_itself_without_an_error(made: SweepDirectory, tmp_path: Path) -> None:
    dom, console = browse(made.report.as_uri(), tmp_path)
    assert console == ""
    body = dom.split("<tbody>")[2].split("</tbody>")[0]
    assert body.count("<tr ") == 17
    titles = re.findall(r"<h2>(.*?)</h2>", dom)
    assert titles == [
        *("Settings", "Trials", "val/top1", "val/loss", "train/loss", "What best/val_top1 depends on", "Mean over seeds"),
        *("Swept values and objectives", "Use of the slots"),
    ]
    assert "NaN" not in dom.split("<noscript>")[0] and "undefined" not in dom.split("<noscript>")[0]
    # The hostile texts are there, as text.
    assert dom.count("<script") == 2 and "<img" not in dom and "&lt;script&gt;window.pwned=1" in body


@needs_browser
def test_a_trial_is_highlighted_everywhere_and_a_heading_sorts(made: SweepDirectory, tmp_path: Path) -> None:
    """The page with a visitor: a script that points at a curve, filters, and clicks on a heading and on a trial."""
    visitor = """
      const curve = document.querySelector('path.hit[data-trial="3"]');
      curve.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: 200, clientY: 600}));
      const lit = [...document.querySelectorAll('.lit')];
      const said = {lit: lit.every((e) => e.dataset.trial === '3'), places: new Set(lit.map((e) => e.closest('section'))).size};
      said.tip = document.getElementById('tip').textContent;
      [...document.querySelectorAll('th button')].find((b) => b.textContent.startsWith('best/val_top1')).click();
      said.first = document.querySelector('tbody tr[data-trial]').dataset.trial;
      document.querySelector('tr[data-trial="16"]').click();
      said.known = document.querySelector('p.failed').textContent;
      const filter = document.querySelector('input');
      filter.value = 'augment=none seed=1';
      filter.dispatchEvent(new Event('input'));
      said.left = document.querySelectorAll('tbody tr[data-trial]:not(.off)').length;
      said.pwned = window.pwned ?? null;
      document.title = JSON.stringify(said);
    """
    text = made.report.read_text()
    text = re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", text).replace(
        "</body>", f"<script>{visitor}</script></body>"
    )
    (tmp_path / "visited.html").write_text(text)
    dom, console = browse((tmp_path / "visited.html").as_uri(), tmp_path)
    assert console == ""
    said = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", dom, re.S)[1]))  # type: ignore[index]
    assert said["lit"] and said["places"] == 7  # table, three curves, seeds, parallel coordinates, cards
    assert said["tip"].startswith("trial 3, rank") and "base_lr = 1e-4" in said["tip"]
    assert said["first"] == "0" and said["left"] == 4
    assert said["known"] == f"nan {HOSTILE}" and said["pwned"] is None


@needs_browser
def test_odd_sweeps_are_drawn_too(tmp_path: Path) -> None:
    """One page each: nothing yet; a single trial; two objectives with a trial that has none."""
    single = make_sweep(tmp_path, [trial(tmp_path, 0, [50.0])])
    pair = [trial(tmp_path, 0, [50.0, 3.0], a="1"), trial(tmp_path, 1, [60.0, 4.0], a="x"), trial(tmp_path, 2, None, WAITING)]
    names, ways = ("best/val_top1", "perf/step_ms"), ("maximize", "minimize")
    pareto = make_sweep(tmp_path, pair, objectives=names, directions=ways)
    for sweep, title in ((make_sweep(tmp_path, []), "No trials yet"), (single, "Trials"), (pareto, "against each other")):
        report_files.write(sweep)
        dom, console = browse(sweep.report.as_uri(), tmp_path)
        assert console == "" and title in dom and "NaN" not in dom.split("<noscript>")[0]


# --- MLflow ---


def sent(folder: Path, count: int, uri: str) -> SweepDirectory:
    trials = []
    for number in range(count):
        run = make_run(folder, backend="mlflow", uri=uri)
        write_json(run.environment, {"working_directory": str(folder)})
        progress.write(run, progress.Progress(store.identity(store.anchored(uri, folder)), "7", f"{number:032x}"))
        trials.append(
            Trial(
                number, [], {"seed": str(number)}, str(run.path), "", 1, FINISHED, None, [float(number)], [Attempt(BEGAN, [0])]
            )
        )
    return make_sweep(folder, trials)


def test_links_show_the_runs_of_the_sweep_and_no_others(tmp_path: Path) -> None:
    sweep = sent(tmp_path, 3, "http://me:sesame@tracking:5000/mlflow/")
    charts, compared = (line.split(": ", 1)[1].strip() for line in links.of_sweep(sweep))
    base, _, fragment = charts.partition("#")
    assert base == "http://tracking:5000/mlflow/" and fragment.startswith("/experiments/7/runs?")
    asked = parse_qs(urlsplit(fragment).query)
    assert asked["searchFilter"] == [f"tags.`sweep.id`='{sweep.id}'"] and asked["compareRunsMode"] == ["CHART"]
    assert " " not in charts and "`" not in charts and "'" not in charts
    query = unquote(compared.partition("?")[2])
    assert query == f'runs=["{2:032x}","{1:032x}","{0:032x}"]&experiments=["7"]&workflowType=machine_learning'


def test_links_of_many_runs_compare_the_best(tmp_path: Path) -> None:
    opened, _, compared = links.of_sweep(sent(tmp_path, links.MOST_COMPARED + 5, "sqlite:///mlflow.db"))
    assert opened.endswith("mlflow ui --workers 1 --backend-store-uri sqlite:///mlflow.db")
    assert "the best 20: http://127.0.0.1:5000/#/compare-runs" in compared and compared.count("%2C") == 19
    assert f"{24:032x}" in compared and f"{4:032x}" not in compared


def publish(sweep: SweepDirectory, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deit.sweeps.reporting.publish", str(sweep.path)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_sweep_has_one_run_of_its_own_in_mlflow(tmp_path: Path, process: Callable[..., Outcome]) -> None:
    """task=report sends it, and again replaces its files; from another folder too, as the store's path is the sweep's."""
    sweep = sent(tmp_path, 2, "sqlite:///mlflow.db")
    outcome = process("task=report", "sweep.dir=last")
    assert outcome.code == 0, outcome.err
    assert f"{sweep.path.relative_to(tmp_path)}/report.html" in outcome.out and "report in MLflow: http://127" in outcome.out
    sweep.summary_md.write_text("changed")
    (tmp_path / "elsewhere").mkdir()
    again = publish(sweep, tmp_path / "elsewhere")
    assert again.returncode == 0 and again.stdout.strip() == outcome.out.strip().splitlines()[-1]
    (run,) = [path for path in (tmp_path / "mlruns").glob("*/*") if (path / "artifacts").is_dir()]
    files = {path.name: path for path in (run / "artifacts").iterdir()}
    assert set(files) == {"summary.csv", "summary.md", "report.html", "trials.jsonl"}
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        tags = dict(database.execute("select key, value from tags where run_uuid = ?", (run.name,)).fetchall())
    assert tags["sweep.best"].startswith("best setting: ") and "against the best" in tags["mlflow.note.content"]
    assert files["summary.md"].read_text() == "changed" and files["report.html"].read_text() == sweep.report.read_text()
    assert not (tmp_path / "elsewhere" / "mlflow.db").exists()


def test_a_store_that_is_away_is_told_and_nothing_else_happens(tmp_path: Path) -> None:
    sweep = sent(tmp_path, 1, "http://me:sesame@127.0.0.1:9/")
    report_files.write(sweep)
    ended = publish(sweep, tmp_path)
    assert ended.returncode == 1 and ended.stdout == "" and len(ended.stderr.splitlines()) == 1
    assert "MLflow did not accept the report" in ended.stderr and "python -m deit.sweeps.reporting.publish" in ended.stderr
    assert "sesame" not in ended.stderr


# --- task=report ---


def test_report_makes_the_files_and_no_run(made: SweepDirectory, command: Callable[..., Outcome], tmp_path: Path) -> None:
    for path in (made.report, made.summary_md, made.summary_csv):
        path.unlink()
    outcome = command("task=report", f"sweep.dir={made.path}")
    assert outcome.code == 0 and outcome.out.split() == [f"{made}/{n}" for n in ("report.html", "summary.md", "summary.csv")]
    assert made.report.stat().st_size > 50_000 and not list(tmp_path.iterdir())


def test_a_dry_run_of_report_writes_nothing(tmp_path: Path, command: Callable[..., Outcome]) -> None:
    sweep = make_sweep(tmp_path, [])
    outcome = command("task=report", "sweep.dir=last", "dry_run=true")
    assert outcome.code == 0 and f"would write summary.csv, summary.md and report.html of {sweep}" in outcome.out
    assert not sweep.report.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "task=report needs sweep.dir"),
        (("sweep.dir=last",), "sweep.dir=last: no sweep found in runs/sweeps/"),
        (("sweep.dir=.",), "sweep.json is missing"),
        (("sweep.dir=.", "checkpoint=x"), "checkpoint=x with task=report: it reports a sweep; give sweep.dir= instead."),
        (("sweep.dir=last", "model.depth=3"), "model.depth has no effect with task=report"),
        (("sweep.dir=last", "tracking.uri=sqlite:///x.db"), "tracking.uri has no effect with task=report"),
        (("sweep.dir=x", "runs_dir=y"), "runs_dir has no effect unless sweep.dir is last"),
    ],
)
def test_report_refuses(command: Callable[..., Outcome], tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    outcome = command("task=report", *arguments)
    assert outcome.code == 2 and told in outcome.err and not list(tmp_path.iterdir())


def test_other_tasks_refuse_a_sweep_to_report(command: Callable[..., Outcome]) -> None:
    outcome = command("experiment=quickstart", "sweep.dir=last")
    assert outcome.code == 2 and outcome.err.strip() == "sweep.dir has no effect without task=report."
