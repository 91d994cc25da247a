"""The contract between the two sides: directory, journal, status, checkpoints, finding a run."""

from __future__ import annotations

import fcntl
import math
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from composition import composed

from deit.config import frozen
from deit.errors import UserError
from deit.files import write_json
from deit.lookup.runs import find_run
from deit.runs import checkpoint, directory, status
from deit.runs.directory import RunDirectory
from deit.runs.journal import Journal, read
from deit.runs.lock import held, locked
from deit.runs.outcome import FAILED
from deit.runs.run_processes import RUN_VARIABLE


def new_run(tmp_path: Path, *overrides: str) -> RunDirectory:
    config = composed("experiment=quickstart", *overrides)
    run = directory.create(tmp_path / "runs", config.name)
    frozen.save(config, run.config)
    return run


def records(path: Path) -> list[dict]:
    return [record for _, record in read(path)]


def test_frozen_configuration_reads_back_equal(tmp_path: Path) -> None:
    config = composed("model=deit_small", "optim=sgd", "task=evaluate", "checkpoint=somewhere")
    frozen.save(config, tmp_path / "config.yaml")
    assert frozen.load(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("base_lr: 0.002", "base_lr: fast", "optim.base_lr is 'fast', but a number"),
        ("base_lr:", "bass_lr:", "unknown key optim.bass_lr. Did you mean 'base_lr'?"),
        ("name: adamw", "name: adam", "optim.name is 'adam'; allowed: adamw, lamb, sgd"),
    ],
)
def test_invalid_edited_config_is_rejected(tmp_path: Path, old: str, new: str, told: str) -> None:
    run = new_run(tmp_path)
    text = run.config.read_text()
    assert old in text
    run.config.write_text(text.replace(old, new))
    with pytest.raises(UserError, match="config") as error:
        frozen.load(run.config)
    assert told in str(error.value)


def test_directories_of_the_same_second_differ_and_sort_as_they_were_made(tmp_path: Path) -> None:
    made = [directory.create(tmp_path, "x").id for _ in range(50)]
    assert len(set(made)) == 50 and made == sorted(made)


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


def test_status_round_trip(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert status.read(run).state == status.CREATED
    status.write(run, status.Status(state=FAILED, message="why", exit_code=1, progress={"step": 3}))
    found = status.read(run)
    assert (found.state, found.message, found.exit_code, found.progress, found.ended) == ("failed", "why", 1, {"step": 3}, True)
    for torn in ("", '{"state": "fai', "\0\0\0", "[]"):  # by a loss of power
        run.status.write_text(torn)
        assert status.read(run) == status.Status()


def test_error_names_runs_dir_if_it_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "unmounted").symlink_to(tmp_path / "nothing")
    for place in ("file", "file/below", "unmounted"):
        with pytest.raises(UserError, match=f"runs_dir={tmp_path / place}: no folder can be created there .*give another"):
            directory.create(tmp_path / place, "x")


@pytest.fixture
def at_first_wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """``at_first_wait(act)``: what a launch waits for happens while it waits, and not before, however slow the machine is."""

    def let(act: Callable[[], object]) -> None:
        sleep = time.sleep

        def acting(seconds: float) -> None:
            monkeypatch.setattr(time, "sleep", sleep)
            act()
            sleep(seconds)

        monkeypatch.setattr(time, "sleep", acting)

    return let


def test_brief_lock_of_a_reader_does_not_stop_a_launch(
    tmp_path: Path, at_first_wait: Callable[[Callable[[], object]], None]
) -> None:
    run = new_run(tmp_path)
    with open(run.path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert held(run)
        with pytest.raises(UserError, match="still being worked on by another launch"), locked(run, patient=False):
            pass
        at_first_wait(lock.close)
        with locked(run):
            pass
    assert not held(run)


@pytest.mark.process
def test_launch_waits_for_the_processes_of_a_killed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at_first_wait: Callable[[Callable[[], object]], None]
) -> None:
    run = new_run(tmp_path)
    worker = subprocess.Popen(["sleep", "600"], env={RUN_VARIABLE: str(run.path)})
    try:
        assert held(run)
        at_first_wait(worker.kill)
        with locked(run):
            assert worker.wait(60) == -signal.SIGKILL
        assert f"its launcher was killed; waiting for its processes to end: [{worker.pid}]" in capsys.readouterr().err
    finally:
        worker.kill()
        worker.wait()


WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.ones(4, np.float32), "scalar": np.array(3, np.int32)}


def test_checkpoint_round_trip_is_exact_and_leaves_no_debris(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    (run.checkpoints / ".step_00000001.99.tmp").mkdir()  # a writer that was killed
    (run.checkpoints / ".best.json.99.tmp").touch()  # and another
    path = checkpoint.write(run, 7, {"model": WEIGHTS}, {"epoch": 1})
    state = checkpoint.read_state(path)
    assert (state["step"], state["epoch"]) == (7, 1)
    for name, value in checkpoint.read_part(path, "model").items():
        assert value.shape == WEIGHTS[name].shape and value.dtype == WEIGHTS[name].dtype
        np.testing.assert_array_equal(value, WEIGHTS[name])
    checkpoint.write(run, 7, {"model": WEIGHTS}, {"epoch": 2})  # written again by a resumed run
    checkpoint.prune(run, 1)
    assert [p.name for p in run.checkpoints.iterdir()] == ["step_00000007"]
    assert checkpoint.read_state(path)["epoch"] == 2


def test_prune_keeps_the_last_and_the_best(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for step in (1, 2, 3, 4, 5):
        checkpoint.write(run, step, {"model": WEIGHTS}, {})
    write_json(run.best, {"val": {"checkpoint": "step_00000002"}, "val_ema": {"checkpoint": "step_00000005"}})
    checkpoint.prune(run, 2)
    assert [p.name for p in checkpoint.complete(run)] == ["step_00000002", "step_00000004", "step_00000005"]


def test_damage_is_detected(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    path = checkpoint.write(run, 1, {"model": WEIGHTS}, {})
    file = path / "model.safetensors"
    good = file.read_bytes()
    flipped = bytearray(good)
    flipped[-3] ^= 1
    for content, told in ((good[:-8], "truncated"), (bytes(flipped), "SHA-256")):
        file.write_bytes(content)
        with pytest.raises(UserError, match=told) as error:
            checkpoint.read_part(path, "model")
        assert "model.safetensors" in str(error.value)


def test_any_flipped_bit_of_a_state_is_detected(tmp_path: Path) -> None:
    """A resume passes over a damaged checkpoint, but ends at one that another program or a stranger seems to have made."""
    state = checkpoint.write(new_run(tmp_path), 1, {"model": WEIGHTS}, {}) / "state.json"
    good = state.read_bytes()
    found = 0
    for place in range(len(good)):
        for bit in range(8):
            state.write_bytes(good[:place] + bytes([good[place] ^ (1 << bit)]) + good[place + 1 :])
            try:
                checkpoint.read_state(state.parent)
            except checkpoint.Damaged:
                found += 1
    assert found > 0.9 * 8 * len(good)  # the others are in the name of the checksum


def test_checkpoint_of_another_format_is_rejected(tmp_path: Path) -> None:
    path = checkpoint.write(new_run(tmp_path), 1, {"model": WEIGHTS}, {})
    state = (path / "state.json").read_text()
    (path / "state.json").write_text(state.replace('"format": 1', '"format": 7'))
    with pytest.raises(UserError, match="has format 7, this program reads format 1"):
        checkpoint.read_state(path)


def test_find_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run=last: no training run"):
        find_run("last", "run", str(tmp_path / "runs"), None)
    run = new_run(tmp_path)
    assert find_run("last", "run", str(tmp_path / "runs"), None).path == run.path
    assert find_run(str(run.path), "run", "elsewhere", None).path == run.path
    for text, told in ((str(tmp_path / "nothing"), "no such directory"), (str(tmp_path), "config.yaml is missing")):
        with pytest.raises(UserError, match=told):
            find_run(text, "resume", str(tmp_path / "runs"), None)


def test_root_level_path_is_shown_completely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert directory.shown(tmp_path / "runs" / "x") == "runs/x"
    monkeypatch.chdir("/")
    assert directory.shown(tmp_path) == str(tmp_path)
