"""Full disks: what is reported, what is lost, and that a run can be resumed."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command import with_last
from composition import composed
from empty_store import add_empty_store
from launching import SMALL, Running, launch, metrics
from prepared_runs import events, prepared, saver_of

from deit.engine.recorder import Report
from deit.errors import UserError
from deit.files import read_json
from deit.models.shapes import parameter_shapes
from deit.preflight.disk_space import check_space, checkpoint_bytes
from deit.runs import checkpoint, status
from deit.runs.journal import read
from deit.runs.outcome import FAILED
from deit.runs.run_processes import of_run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    yield place
    # The search for killed runs, which a launch starts and does not wait for, may still have its log there.
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, leave: int) -> Path:
    space = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(space.f_bavail * space.f_frsize - leave))
    return disk / "ballast"


def test_full_disk_loses_only_the_checkpoint(small_disk: Path) -> None:
    run = prepared(small_disk, "full")
    report = Report(run, status.Status())
    parts = {"model": {"a": np.zeros(50_000, np.float32)}}
    facts = {"best": {"val": {"checkpoint": "step_00000008", "step": 8}}}
    with saver_of(run, report) as saver:
        saver.save(8, lambda: parts, facts)
        saver.wait()
        ballast = fill(small_disk, leave=60_000)
        saver.save(16, lambda: parts, {"best": {"val": {"checkpoint": "step_00000016", "step": 16}}})
        saver.wait()
        assert {path.name for path in run.checkpoints.iterdir()} == {"step_00000008", "best.json"}
        assert read_json(run.best) == facts["best"]  # it never names a checkpoint that does not exist
        # Not even a byte is left: what the journal cannot take yet is not lost.
        with open(ballast, "ab") as file, pytest.raises(OSError):
            file.write(bytes(1_000_000))
        for step in range(16, 400):
            report.metrics(step, {"train/loss": float(step)})
        report.progress(now=True, step=400)
        saver.save(24, lambda: parts, facts)
        with pytest.raises(UserError, match=r"last checkpoint could not be written \(No space left on device\)"):
            saver.finish()
        ballast.unlink()
        saver.save(32, lambda: parts, facts)
        saver.finish()
    report.close()
    assert [event["step"] for event in events(run, "checkpoint_failed")] == [16, 24]
    assert events(run, "checkpoint_failed")[0]["errno"] == errno.ENOSPC
    assert [step for step, _ in metrics(run)["train/loss"]] == list(range(16, 400))
    assert [r["step"] for _, r in read(run.journal) if r["kind"] == "checkpoint"] == [8, 32]


# Its end is not near when the disk is full, after the first checkpoint at step 16.
LONG = ("hardware=cpu", "schedule.epochs=10", "checkpointing.every=2")


def test_run_that_fails_on_a_full_disk_can_be_resumed(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(small_disk)
    running = Running(tmp_path, *SMALL, *LONG, "tracking=none")
    run = running.wait_for_step(17)
    ballast = small_disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        while running.process.poll() is None:  # what the run gives back meanwhile is taken, too
            try:
                file.write(bytes(1 << 16))
            except OSError:
                time.sleep(0.005)
    assert running.end() == 1
    said = running.output.read_text()
    assert f"the disk of disk/quickstart/{run.id} is full" in said and "resume with:" in said and "Traceback" not in said, said
    ballast.unlink()
    assert not of_run(run)
    resumed = launch(tmp_path, f"resume={run.path}")
    assert resumed.returncode == 0, resumed.stderr
    assert checkpoint.read_state(checkpoint.complete(run)[-1])["step"] == 80
    assert [step for step, _ in metrics(run)["val/top1"]] == list(range(8, 81, 8))


def test_end_of_a_run_is_recorded_when_the_disk_has_space_again(small_disk: Path, tmp_path: Path) -> None:
    """Till then the shipper does not know of it, and the launcher waits for the shipper: here longer than this test does."""
    (tmp_path / "runs").symlink_to(small_disk)
    add_empty_store(tmp_path)
    running = Running(tmp_path, *SMALL, *LONG, "tracking.flush_timeout=3600")
    run = running.wait_for_step(17)
    ballast = small_disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        while "failed after" not in running.output.read_text():
            assert running.process.poll() is None, running.output.read_text()
            try:
                file.write(bytes(1 << 16))
            except OSError:
                time.sleep(0.005)
    ballast.unlink()
    assert running.end() == 1 and status.read(run).state == FAILED
    assert "this run: " in running.output.read_text(), running.output.read_text()


def test_disk_space_for_checkpoints_is_checked_before_the_start(small_disk: Path) -> None:
    config = composed(*SMALL, "tracking=none", f"runs_dir={small_disk / 'new' / 'runs'}")
    assert config.data.num_classes == 10
    one = checkpoint_bytes(config)
    assert one == 4 * 4 * sum(int(np.prod(shape)) for shape in parameter_shapes(config.model, 10).values())
    check_space(config)
    fill(small_disk, leave=4 * one + 8192)
    with pytest.raises(UserError) as error:
        check_space(config)  # 2 last, the best raw and EMA, one being written: 5
    told = str(error.value)
    assert str(small_disk) in told and "are free" in told and "checkpointing.keep_last=1" in told


def test_launcher_rejects_a_disk_without_enough_space(small_disk: Path, command: Callable) -> None:
    outcome = command(*with_last(*SMALL, "model.embed_dim=512"), "tracking=none", f"runs_dir={small_disk}", "hardware=cpu")
    assert outcome.code == 2 and "MB are free" in outcome.err and list(small_disk.iterdir()) == []
