"""summary.csv, summary.md and report.html of a sweep."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path

import pytest
from sweeps_on_disk import HOSTILE, hostile_grid, make_run, make_sweep, train

from deit.runs.outcome import FINISHED
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import Trial
from deit.sweeps.reporting import report_files, summary


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SweepDirectory:
    """A sweep with hostile texts, and its report files."""
    sweep = hostile_grid(tmp_path_factory.mktemp("sweep"))
    report_files.write(sweep)
    return sweep


def test_page_of_300_trials_is_small(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    train(run, 70.0, epochs=100, steps=2)
    trials = [
        Trial(i, [f"seed={i}", "x=y"], {"seed": str(i)}, str(run.path), str(i), 1, FINISHED, None, [70.0]) for i in range(300)
    ]
    sweep = make_sweep(tmp_path, trials)
    report_files.write(sweep)
    assert sweep.report.stat().st_size < 2_000_000


def test_summary_csv_contains_every_trial(made: SweepDirectory) -> None:
    lines = list(csv.DictReader(made.summary_csv.read_text().splitlines()))
    assert len(lines) == 17 and lines[0]["rank"] == "1" and lines[0]["optim.base_lr"] == "1e-3"
    assert float(lines[0]["best/val_top1"]) == 92.5 and float(lines[0]["last/val_epoch"]) == 10
    assert lines[-1]["augment"] == HOSTILE and lines[-1]["rank"] == "" and lines[-1]["state"] == "failed"
    assert Path(lines[0]["run"]).is_dir() and lines[0]["seconds"] == "55.0"


def test_summary_md_escapes_texts(made: SweepDirectory) -> None:
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


def test_bars_and_line_ends_are_escaped_in_tables() -> None:
    assert summary.escaped("a|b\n`c` <i>") == r"a\|b \`c\` &lt;i&gt;"


def test_files_contain_no_credentials(made: SweepDirectory) -> None:
    for path in (made.report, made.summary_md, made.summary_csv):
        assert "sesame" not in path.read_text()
    assert "***@db" in made.report.read_text()


def test_page_contains_its_data_and_loads_nothing(made: SweepDirectory) -> None:
    text = made.report.read_text()
    assert text.count("<script") == 2 and text.count("</script>") == 2 and "<img" not in text
    assert not re.search(r"""(src|href)=["'](?!http://www\.w3\.org)""", text.split("<script>")[0])
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    assert data["trials"][16]["message"] == f"nan {HOSTILE}" and len(data["curves"]["val/top1"]) == 16
    policy = html.unescape(re.search(r'Content-Security-Policy" content="(.*?)"', text)[1])  # type: ignore[index]
    assert policy.startswith("default-src 'none'") and "script-src 'sha256-" in policy
