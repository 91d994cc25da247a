"""The report of a sweep: the page in a real browser, the report in MLflow, and the command task=report."""

from __future__ import annotations

import html
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import browse, needs_browser
from command import ROOT, Outcome
from empty_store import add_empty_store
from sweeps_on_disk import HOSTILE, hostile_grid, make_sweep, sent, trial

from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import WAITING
from deit.sweeps.reporting import report_files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SweepDirectory:
    """A sweep with hostile texts, and its report files."""
    sweep = hostile_grid(tmp_path_factory.mktemp("sweep"))
    report_files.write(sweep)
    return sweep


@needs_browser
def test_browser_draws_the_page_without_errors(made: SweepDirectory, tmp_path: Path) -> None:
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
def test_page_highlights_a_trial_everywhere_and_sorts_by_a_heading(made: SweepDirectory, tmp_path: Path) -> None:
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
def test_browser_draws_empty_single_and_multi_objective_sweeps(tmp_path: Path) -> None:
    """One page each: nothing yet; a single trial; two objectives with a trial that has none."""
    single = make_sweep(tmp_path, [trial(tmp_path, 0, [50.0])])
    pair = [trial(tmp_path, 0, [50.0, 3.0], a="1"), trial(tmp_path, 1, [60.0, 4.0], a="x"), trial(tmp_path, 2, None, WAITING)]
    names, ways = ("best/val_top1", "perf/step_ms"), ("maximize", "minimize")
    pareto = make_sweep(tmp_path, pair, objectives=names, directions=ways)
    for sweep, title in ((make_sweep(tmp_path, []), "No trials yet"), (single, "Trials"), (pareto, "against each other")):
        report_files.write(sweep)
        dom, console = browse(sweep.report.as_uri(), tmp_path)
        assert console == "" and title in dom and "NaN" not in dom.split("<noscript>")[0]


def publish(sweep: SweepDirectory, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deit.sweeps.reporting.publish", str(sweep.path)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_report_is_sent_to_one_run_in_mlflow(tmp_path: Path, process: Callable[..., Outcome]) -> None:
    """task=report sends it, and again replaces its files; from another folder too, as the store's path is the sweep's."""
    add_empty_store(tmp_path)
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


def test_unreachable_store_is_reported_in_one_line(tmp_path: Path) -> None:
    sweep = sent(tmp_path, 1, "http://me:sesame@127.0.0.1:9/")
    report_files.write(sweep)
    ended = publish(sweep, tmp_path)
    assert ended.returncode == 1 and ended.stdout == "" and len(ended.stderr.splitlines()) == 1
    assert "MLflow did not accept the report" in ended.stderr and "python -m deit.sweeps.reporting.publish" in ended.stderr
    assert "sesame" not in ended.stderr


def test_report_writes_the_files_and_no_run(made: SweepDirectory, command: Callable[..., Outcome], tmp_path: Path) -> None:
    for path in (made.report, made.summary_md, made.summary_csv):
        path.unlink()
    outcome = command("task=report", f"sweep.dir={made.path}")
    assert outcome.code == 0 and outcome.out.split() == [f"{made}/{n}" for n in ("report.html", "summary.md", "summary.csv")]
    assert made.report.stat().st_size > 50_000 and not list(tmp_path.iterdir())


def test_dry_run_of_report_writes_nothing(tmp_path: Path, command: Callable[..., Outcome]) -> None:
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
def test_report_rejects(command: Callable[..., Outcome], tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    outcome = command("task=report", *arguments)
    assert outcome.code == 2 and told in outcome.err and not list(tmp_path.iterdir())


def test_other_tasks_reject_sweep_dir(command: Callable[..., Outcome]) -> None:
    outcome = command("experiment=quickstart", "sweep.dir=last")
    assert outcome.code == 2 and outcome.err.strip() == "sweep.dir has no effect without task=report."
