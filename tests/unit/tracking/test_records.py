"""The journal in batches, as the shipper sends it."""

from __future__ import annotations

from pathlib import Path

from deit.runs import journal
from deit.tracking import records


def _journal(path: Path, steps: range, names: int) -> list[records.Point]:
    writer = journal.Journal(path)
    for step in steps:
        writer.metrics(step, {f"train/m{i}": step + i / 1000 for i in range(names)})
        writer.checkpoint(step, f"checkpoints/step_{step:08d}", [])
    writer.close()
    return [records.Point(f"train/m{i}", s + i / 1000, 0, s) for s in steps for i in range(names)]


def test_batches_contain_every_point_once_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    expected = _journal(path, range(700), 3)
    found = list(records.batches(path, 0))
    assert [len(batch.points) for batch in found] == [999, 999, 102]
    assert [p._replace(time=0) for batch in found for p in batch.points] == expected
    assert found[-1].offset == path.stat().st_size
    # Going on from any batch's offset gives exactly the rest.
    assert list(records.batches(path, found[0].offset)) == found[1:]
    assert list(records.batches(path, found[-1].offset)) == []


def test_records_without_metrics_move_the_offset(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    writer = journal.Journal(path)
    writer.event("resumed", 5)
    assert list(records.batches(path, 0)) == [records.Batch([], path.stat().st_size)]


def test_unfinished_line_is_not_sent_yet(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    _journal(path, range(2), 1)
    size = path.stat().st_size
    with open(path, "a") as file:
        file.write('{"kind": "metrics", "time": 1, "st')
    assert [batch.offset for batch in records.batches(path, 0)] == [size]
