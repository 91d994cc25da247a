"""Records of launches, and the list of runs."""

from __future__ import annotations

from pathlib import Path

from deit.files import read_json
from deit.runs import circumstances, directory
from deit.runs.directory import newest


def test_the_newest_launch_is_the_last_resume(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "one")
    assert circumstances.last_launch(run) == {}
    circumstances.note_launch(run, {"host": "a"}, ["x=1"])
    assert circumstances.last_launch(run) == {"host": "a"}
    for host in ("b", "c"):
        circumstances.note_launch(run, {"host": host}, [f"x={host}"])
    assert circumstances.last_launch(run) == {"host": "c", "overrides": ["x=c"]}
    circumstances.note_device(run, {"name": "910B"})
    kept = read_json(run.environment)
    assert kept["host"] == "a" and "device" not in kept and [entry["host"] for entry in kept["resumes"]] == ["b", "c"]
    assert circumstances.last_launch(run)["device"] == {"name": "910B"}


def test_records_before_the_first_launch_are_kept(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "trial")
    run.environment.write_text('{"sweep": {"id": "s"}}')
    circumstances.note_launch(run, {"host": "a"}, [])
    assert read_json(run.environment) == {"host": "a", "sweep": {"id": "s"}}


def test_runs_by_the_time_in_their_names(tmp_path: Path) -> None:
    assert newest(tmp_path) == []
    for place in ("b/20260101_1", "a/20260103_1", "a/20260102_1", "a/without"):
        (tmp_path / place).mkdir(parents=True)
        if "without" not in place:
            (tmp_path / place / "status.json").write_text("{}")
    names = [run.path.name for run in newest(tmp_path)]
    assert names == ["20260103_1", "20260102_1", "20260101_1"] and [run.path.name for run in newest(tmp_path, 1)] == names[:1]
