"""Links from a sweep to its runs in MLflow."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from sweeps_on_disk import sent

from deit.runs.sweep_directory import SweepDirectory
from deit.sweeps import trial_results
from deit.sweeps.reporting import links


def lines(sweep: SweepDirectory) -> list[str]:
    return links.lines(trial_results.read(sweep), links.places(sweep.read_trials()), sweep.id)


def test_links_select_the_runs_of_the_sweep(tmp_path: Path) -> None:
    sweep = sent(tmp_path, 3, "http://me:sesame@tracking:5000/mlflow/")
    charts, compared = (line.split(": ", 1)[1].strip() for line in lines(sweep))
    base, _, fragment = charts.partition("#")
    assert base == "http://tracking:5000/mlflow/" and fragment.startswith("/experiments/7/runs?")
    asked = parse_qs(urlsplit(fragment).query)
    assert asked["searchFilter"] == [f"tags.`sweep.id`='{sweep.id}'"] and asked["compareRunsMode"] == ["CHART"]
    assert " " not in charts and "`" not in charts and "'" not in charts
    query = unquote(compared.partition("?")[2])
    assert query == f'runs=["{2:032x}","{1:032x}","{0:032x}"]&experiments=["7"]&workflowType=machine_learning'


def test_links_of_many_runs_compare_the_best(tmp_path: Path) -> None:
    opened, _, compared = lines(sent(tmp_path, links.MOST_COMPARED + 5, "sqlite:///mlflow.db"))
    assert opened.endswith("mlflow ui --workers 1 --backend-store-uri sqlite:///mlflow.db")
    assert "the best 20: http://127.0.0.1:5000/#/compare-runs" in compared and compared.count("%2C") == 19
    assert f"{24:032x}" in compared and f"{4:032x}" not in compared
