"""journal.jsonl: torn and damaged lines."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from composition import composed

from deit.config import frozen
from deit.errors import UserError
from deit.runs import directory
from deit.runs.directory import RunDirectory
from deit.runs.journal import Journal, read


def new_run(tmp_path: Path, *overrides: str) -> RunDirectory:
    config = composed("experiment=quickstart", *overrides)
    run = directory.create(tmp_path / "runs", config.name)
    frozen.save(config, run.config)
    return run


def records(path: Path) -> list[dict]:
    return [record for _, record in read(path)]


def test_journal_removes_a_torn_line_and_repeats_no_metric(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first = Journal(path)
    first.metrics(10, {"train/loss": 2.0})
    first.metrics(20, {"train/loss": math.inf, "val/top1": 5.0})
    first.close()
    with open(path, "ab") as file:
        file.write(b'{"kind": "metrics", "ti')  # killed in the middle of a line
    assert len(records(path)) == 2
    second = Journal(path)
    second.metrics(20, {"train/loss": 1.0, "val_ema/top1": 7.0})  # what a resumed run does again
    second.metrics(30, {"train/loss": 0.5})
    second.close()
    found = [(r["step"], r["metrics"]) for r in records(path)]
    assert found == [
        (10, {"train/loss": 2.0}),
        (20, {"train/loss": math.inf, "val/top1": 5.0}),
        (20, {"val_ema/top1": 7.0}),
        (30, {"train/loss": 0.5}),
    ]
    offsets = [offset for offset, _ in read(path)]
    assert [r["step"] for _, r in read(path, offsets[1])] == [20, 30] and offsets[-1] == path.stat().st_size


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"\0\0",
        b"[1]",
        b"[" * 100_000,
        b'{"kind": "metrics", "time": 1}',
        b'{"kind": "metrics", "time": 1, "step": 2, "metrics": {"a": "x"}}',
    ],
)
def test_damaged_journal_line_is_reported(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    first = Journal(path)
    first.metrics(10, {"train/loss": 2.0})
    first.close()
    size = path.stat().st_size
    with open(path, "ab") as file:
        file.write(line + b"\n")
    for use in (Journal, records):
        with pytest.raises(UserError, match=rf"journal\.jsonl: damaged at byte {size} \(.{{1,200}}\); without that line"):
            use(path)
