"""Kills at the worst moments, damaged checkpoints, full disks, steps that are not finite: real runs that go on exactly."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from command import LAUNCH, with_last
from composition import composed
from launching import PATIENCE, SMALL, Running, launch, metrics, only_run, same_weights

from deit.config import frozen
from deit.config.schema import RunConfig
from deit.data.datasets import open_dataset
from deit.engine.meter import Bad, Meter
from deit.engine.nonfinite import Verdict, Watch, images_of
from deit.engine.recorder import Report
from deit.engine.resume import newest
from deit.engine.saver import Saver
from deit.errors import UserError
from deit.files import read_json
from deit.models.shapes import parameter_shapes
from deit.preflight.disk_space import check_space, checkpoint_bytes
from deit.preflight.unfinished import check_unfinished
from deit.randomness import generator
from deit.runs import checkpoint, directory, status
from deit.runs.directory import RunDirectory
from deit.runs.journal import read
from deit.runs.outcome import FAILED, FINISHED
from deit.runs.run_processes import kill_all, of_run

# All that changes from step to step, or is drawn: half precision whose loss scale begins far too high and grows again
# after four good steps, accumulation, repeated augmentation, mixing, erasing, dropout, stochastic depth, EMA, distillation.
EVERYTHING = (
    *SMALL,
    "model.drop_rate=0.1",
    "model.distilled=true",
    "distill=hard",
    "augment.repeats=2",
    "augment.reprob=0.3",
    "augment.mixup=0.8",
    "augment.mixup_prob=1",
    "optim.accumulation_steps=2",
    "precision=o1",
    "precision.loss_scale_init=4.0e6",
    "precision.loss_scale_window=4",
    "data.batch_size=16",
    "data.eval_batch_size=4",
    "checkpointing.every_steps=3",
    "tracking.log_every=5",
    "tracking=none",
)
WEIGHTS = {"a": np.arange(6, dtype=np.float32)}


def teacher(folder: Path) -> str:
    """A file of random weights that can teach."""
    model = composed(*SMALL, "hardware=cpu").model
    weights = {
        name: generator(1, name).standard_normal(shape, np.float32) * np.float32(0.1)
        for name, shape in parameter_shapes(model, 10).items()
    }
    run = directory.create(folder / "teacher", "teacher")
    state = {"model": dataclasses.asdict(model), "num_classes": 10}
    return str(checkpoint.write(run, 1, {"model": weights}, state) / "model.safetensors")


# Of each process that finds it: the first file of a checkpoint never gets to the disk, however fast that is.
STUCK_DISK = """
import os, time

fsync = os.fsync

def stuck(descriptor):
    while "/checkpoints/.step_" in os.readlink(f"/proc/self/fd/{descriptor}"):
        time.sleep(1)
    fsync(descriptor)

os.fsync = stuck
"""


class Victim:
    """A launch whose worker is killed at a chosen moment."""

    def __init__(self, folder: Path, *arguments: str, stuck_disk: bool = False) -> None:
        self.folder = folder
        environment = dict(os.environ)
        if stuck_disk:
            (folder / "stuck").mkdir()
            (folder / "stuck" / "sitecustomize.py").write_text(STUCK_DISK)
            environment["PYTHONPATH"] = str(folder / "stuck")
        with open(folder / "output.txt", "a") as output:
            self.launcher = subprocess.Popen(
                [sys.executable, str(LAUNCH), *with_last(*arguments)],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def ask_for_stacks(self) -> RunDirectory:
        """SIGUSR1 to every rank, once the training has begun."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.launcher.poll() is None:
            for path in self.folder.glob("runs/quickstart/*"):
                run = RunDirectory(path)
                if status.read(run).progress.get("step", 0) >= 1:
                    for file in run.logs.glob("worker_*.pid"):
                        os.kill(int(file.read_text()), signal.SIGUSR1)
                    return run
            time.sleep(0.02)
        raise AssertionError((self.folder / "output.txt").read_text())

    def kill_when(self, moment: Callable[[RunDirectory], bool], rank: int = 0) -> RunDirectory:
        """SIGKILL the worker at ``moment``, which is asked of rank 0 while it stands still."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.launcher.poll() is None:
            for path in self.folder.glob("runs/quickstart/*"):
                run = RunDirectory(path)
                pid = status.read(run).worker_pid
                if pid is None or status.read(run).state != status.RUNNING or not moment(run):
                    continue
                if stopped(pid) and moment(run):
                    victim = int((run.logs / f"worker_{rank}.pid").read_text())
                    os.kill(victim, signal.SIGKILL)
                    os.kill(pid, signal.SIGCONT) if rank else None
                    assert self.launcher.wait(PATIENCE) == 1
                    return run
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            time.sleep(0.002)
        raise AssertionError((self.folder / "output.txt").read_text())


def stopped(pid: int) -> bool:
    """Stop a process, and wait until it stands still; False where it has ended."""
    try:
        process = psutil.Process(pid)
        process.suspend()
        while process.status() != psutil.STATUS_STOPPED:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            time.sleep(0.001)
    except psutil.NoSuchProcess:
        return False
    return True


def writing(run: RunDirectory) -> bool:
    """One of this worker's own: the one before may have left another."""
    its = f".step_*.{status.read(run).worker_pid}.tmp/*.safetensors"
    return len(checkpoint.complete(run)) >= 2 and any(run.checkpoints.glob(its))


def evaluating(run: RunDirectory) -> bool:
    now = status.read(run).progress
    return now.get("phase") == "evaluating EMA" and now.get("step", 0) >= 16


def ahead(run: RunDirectory) -> bool:
    """The journal has metrics that no checkpoint has, as comes to pass several times in the first half of the training."""
    newest_one = max((int(path.name.removeprefix("step_")) for path in checkpoint.complete(run)), default=0)
    return 9 <= newest_one < max((step for step, _ in metrics(run).get("train/loss", [])), default=0)


def same_history(one: RunDirectory, other: RunDirectory) -> None:
    first, second = metrics(one), metrics(other)
    assert first.keys() == second.keys()
    for name in first:
        if not name.startswith("perf/"):
            assert first[name] == second[name], name
        steps = Counter(step for step, _ in second[name])
        assert max(steps.values()) == 1, f"{name} stands twice in the journal"


def same_end(one: RunDirectory, other: RunDirectory) -> None:
    """Weights, average, optimizer, loss scale, metrics, results and what is best: bit for bit."""
    last, its_last = checkpoint.complete(one)[-1], checkpoint.complete(other)[-1]
    assert last.name == its_last.name
    same_weights(last, its_last)
    same_history(one, other)
    assert read_json(one.best) == read_json(other.best)
    results, its_results = status.read(one).results, status.read(other).results
    assert results and results["best"] == its_results["best"] and results["last"] == its_results["last"]


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Two working directories, in which nothing is left running."""
    pair = (tmp_path / "whole", tmp_path / "killed")
    for folder in pair:
        folder.mkdir()
    yield pair
    for folder in pair:
        for path in folder.glob("runs/*/*"):
            kill_all(RunDirectory(path))


def test_a_run_killed_between_and_within_checkpoints_ends_in_the_same_bits(folders: tuple[Path, Path]) -> None:
    whole, killed = folders
    recipe = (*EVERYTHING, f"distill.teacher={teacher(whole)}", "hardware=cpu")
    victim = Victim(killed, *recipe)
    uninterrupted = subprocess.Popen([sys.executable, str(LAUNCH), *with_last(*recipe)], cwd=whole, stdout=subprocess.DEVNULL)
    run = victim.kill_when(ahead)
    Victim(killed, "resume=last", stuck_disk=True).kill_when(writing)
    assert list(run.checkpoints.glob(".step_*.tmp"))  # half a checkpoint, which nothing may take for one
    ended = launch(killed, "resume=last", timeout=PATIENCE)
    assert ended.returncode == 0, ended.stderr
    assert uninterrupted.wait(PATIENCE) == 0
    same_end(only_run(whole), run)
    assert not list(run.checkpoints.glob(".*"))
    overflows = metrics(run)["train/overflows"]
    assert overflows[0][1] >= 2 and overflows[-1][1] > overflows[0][1]  # at the beginning, and again later
    assert [r["event"] for _, r in read(run.journal) if r["kind"] == "event"] == ["teacher", "resumed", "resumed"]


def test_two_processes_killed_in_an_evaluation_end_in_the_same_bits(folders: tuple[Path, Path]) -> None:
    whole, killed = folders
    recipe = (*EVERYTHING, f"distill.teacher={teacher(whole)}", "hardware=cpu2", "data.batch_size=8", "schedule.epochs=3")
    recipe += ("data.eval_batch_size=1",)  # so that an evaluation is many steps, one of which is caught
    victim = Victim(killed, *recipe)
    run = victim.ask_for_stacks()
    victim.kill_when(evaluating, rank=1)
    for rank in (0, 1):
        stacks = (run.logs / f"worker_{rank}.log").read_text()
        assert "Current thread" in stacks and "train.py" in stacks and "Thread 0x" in stacks
    for folder, arguments in ((whole, recipe), (killed, ("resume=last",))):
        ended = launch(folder, *arguments, timeout=PATIENCE)
        assert ended.returncode == 0, ended.stderr
    same_end(only_run(whole), run)


# ----------------------------------------------------------------------------------- one worker, many runs


def prepared(folder: Path, name: str, *extra: str) -> RunDirectory:
    """The directory of a small run, as the launcher leaves it to the worker."""
    config = composed(
        *SMALL, "tracking=none", "hardware=cpu", "hardware.jit=false", "schedule.epochs=2", f"name={name}", *extra
    )
    run = directory.create(folder, name)
    frozen.save(config, run.config)
    return run


# The arguments are run directories, each with the steps whose mixing is spoilt, as `3,7`, and how often each is.
WORKER = """
import sys
import numpy as np
from mindspore import Tensor
import deit.worker as worker
from deit.engine import step_randomness

drawn = step_randomness.mix
spoilt = {}

def mix(config, step, rank):
    blend, box, lam = drawn(config, step, rank)
    if spoilt.get(step, 0) > 0:
        spoilt[step] -= 1
        lam = Tensor(np.full(lam.shape, np.nan, np.float32))
    return blend, box, lam

step_randomness.mix = mix
for run, steps, times in zip(*[iter(sys.argv[1:])] * 3):
    spoilt.clear()
    spoilt.update({int(step): int(times) for step in steps.split(",") if step})
    print("code", worker.main([run]), flush=True)
"""


def work(folder: Path, *spoilt: tuple[RunDirectory, str, int]) -> tuple[list[int], str]:
    """Run workers one after the other in a process; returns (exit codes, what they said)."""
    script = folder / "worker.py"
    script.write_text(WORKER)
    arguments = [str(part) for entry in spoilt for part in (entry[0].path, entry[1], entry[2])]
    environment = dict(os.environ, PYTHONPATH=str(LAUNCH.parent))
    ended = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    assert ended.returncode == 0, ended.stderr
    return [int(line.split()[1]) for line in ended.stdout.splitlines() if line.startswith("code")], ended.stderr


def events(run: RunDirectory, kind: str) -> list[dict]:
    return [record for _, record in read(run.journal) if record.get("event") == kind]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    """Runs of one worker process: a clean one, and each policy under steps that are not finite."""
    folder = tmp_path_factory.mktemp("small")
    policies = {
        "clean": ("", 0, ()),
        "skipped": ("4,5,9", 1, ("optim.on_nonfinite=skip", "optim.max_nonfinite=3")),
        "rolled_back": ("10,13", 1, ("optim.on_nonfinite=rollback", "checkpointing.every_steps=4")),
        "in_vain": ("10", 9, ("optim.on_nonfinite=rollback",)),
    }
    runs = {name: prepared(folder, name, *extra) for name, (_, _, extra) in policies.items()}
    codes, said = work(folder, *((runs[name], steps, times) for name, (steps, times, _) in policies.items()))
    assert codes == [0, 0, 0, 1], said
    return runs


def test_skip_passes_over_bad_batches_and_counts_them(small: dict[str, RunDirectory]) -> None:
    run = small["skipped"]
    assert status.read(run).state == FINISHED
    assert metrics(run)["train/overflows"][-1] == (16, 3.0)
    assert all(np.isfinite(value) for _, value in metrics(run)["train/loss"])
    assert [step for event in events(run, "nonfinite") for step in event["steps"]] == [4, 5, 9]
    assert checkpoint.read_part(checkpoint.complete(run)[-1], "optimizer")["step"] == 13
    assert any("step skipped: 9" in text for text in status.read(run).progress["notices"])


def test_rollback_takes_the_steps_again_to_the_bits_of_a_clean_run(small: dict[str, RunDirectory]) -> None:
    run = small["rolled_back"]
    assert [(event["step"], event["checkpoint"]) for event in events(run, "rollback")] == [(10, 8), (13, 12)]
    same_weights(checkpoint.complete(small["clean"])[-1], checkpoint.complete(run)[-1])
    same_history(small["clean"], run)


def test_rollback_stops_where_the_same_step_fails_again_and_names_the_images(small: dict[str, RunDirectory]) -> None:
    run = small["in_vain"]
    told = status.read(run).message
    assert told and "step 10" in told and "again after a return" in told and str(run.nonfinite) in told
    named = read_json(run.nonfinite)
    assert (named["step"], named["epoch"], len(named["ranks"][0])) == (10, 1, 32)
    assert named["ranks"][0][0]["image"].startswith("digits")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_damaged_checkpoints_are_passed_over_and_kept(small: dict[str, RunDirectory], tmp_path: Path) -> None:
    """Four ways to be damaged in one run: it goes on from the oldest, and ends where the clean run has ended."""
    run = RunDirectory(shutil.copytree(small["rolled_back"].path, tmp_path / "run"))
    kept = checkpoint.complete(run)[-1]
    clean = RunDirectory(shutil.copytree(small["clean"].path, tmp_path / "clean"))
    first = checkpoint.complete(clean)[0]
    shutil.rmtree(run.checkpoints)
    run.checkpoints.mkdir()
    shutil.copytree(first, run.checkpoints / "step_00000008")
    for name in ("step_00000009", "step_00000010", "step_00000011", "step_00000012", "step_00000016"):
        shutil.copytree(checkpoint.complete(clean)[-1], run.checkpoints / name)
    (run.checkpoints / "step_00000009" / "optimizer.safetensors").unlink()
    with open(run.checkpoints / "step_00000010" / "ema.safetensors", "r+b") as file:
        file.truncate(100)
    (run.checkpoints / "step_00000011" / "state.json").unlink()
    text = (run.checkpoints / "step_00000012" / "state.json").read_text()
    (run.checkpoints / "step_00000012" / "state.json").write_text(text.replace('"overflows": 0', '"overflows": 8'))
    flip(run.checkpoints / "step_00000016" / "model.safetensors")
    codes, said = work(tmp_path, (run, "", 0))
    assert codes == [0], said
    assert [event["kept_as"] for event in events(run, "damaged_checkpoint")] == [
        f"damaged_step_000000{step:02}" for step in (16, 12, 11, 10, 9)
    ]
    assert all((run.checkpoints / event["kept_as"]).is_dir() for event in events(run, "damaged_checkpoint"))
    assert said.count("The run resumes from step_00000008") == 5 and len(status.read(run).progress["notices"]) == 5
    same_weights(checkpoint.complete(run)[-1], kept if kept.exists() else checkpoint.complete(clean)[-1])
    same_history(clean, run)


def test_where_no_checkpoint_is_whole_all_are_named_and_left(tmp_path: Path) -> None:
    run = prepared(tmp_path, "none_whole")
    for step in (8, 16):
        flip(checkpoint.write(run, step, {"model": WEIGHTS}, {"best": {}}) / "model.safetensors")
    report = Report(run, status.Status())
    with pytest.raises(UserError, match=r"all checkpoints of .* are damaged") as error:
        newest(run, report, 0, 1)
    assert "step_00000016" in str(error.value) and "step_00000008" in str(error.value)
    assert len(checkpoint.complete(run)) == 2


def test_what_a_kill_left_undone_after_a_checkpoint_is_done(tmp_path: Path) -> None:
    """Killed between the folder's renaming, best.json and the journal."""
    run = prepared(tmp_path, "undone")
    best = {"val": {"checkpoint": "step_00000008", "step": 8, "top1": 50.0}}
    checkpoint.write(run, 8, {"model": WEIGHTS}, {"best": best})
    report = Report(run, status.Status())
    restored = newest(run, report, 0, 1)
    assert restored is not None and restored.step == 8 and read_json(run.best) == best
    assert [(r["step"], r["best"]) for _, r in read(run.journal)] == [(8, ["val"])]


def test_a_checkpoint_keeps_what_it_calls_the_best(tmp_path: Path) -> None:
    run = prepared(tmp_path, "kept")
    for step, best in ((1, 1), (2, 1), (3, 3)):
        pointer = {"val": {"checkpoint": f"step_{best:08d}", "step": best}}
        checkpoint.write(run, step, {"model": WEIGHTS}, {"best": pointer})
        checkpoint.point_at_best(run, pointer)
    checkpoint.prune(run, 2)
    assert len(checkpoint.complete(run)) == 3  # a run that falls back to step 2 still has the best of its time, step 1
    checkpoint.prune(run, 1)
    assert [path.name for path in checkpoint.complete(run)] == ["step_00000003"]


# --------------------------------------------------------------------------------------------- full disks


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


def saver_of(run: RunDirectory, report: Report) -> Saver:
    return Saver(run, frozen.load(run.config).checkpointing, report, 8, writes=True)


def test_a_full_disk_costs_a_checkpoint_and_nothing_else(small_disk: Path) -> None:
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
        assert read_json(run.best) == facts["best"]  # it never names what is not there
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


def test_a_warning_for_which_the_log_has_no_room_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepared(tmp_path, "warned")
    report = Report(run, status.Status())
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        report.warn("checkpoint_failed", 8, "no room")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
    report.close()
    assert [event["step"] for event in events(run, "checkpoint_failed")] == [8]


def test_a_run_whose_disk_is_full_at_its_end_says_so_and_can_be_gone_on_with(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(small_disk)
    running = Running(tmp_path, *SMALL, "tracking=none", "hardware=cpu", "schedule.epochs=20", "checkpointing.every=5")
    run = running.wait_for_step(41)
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
    assert checkpoint.read_state(checkpoint.complete(run)[-1])["step"] == 160
    assert [step for step, _ in metrics(run)["val/top1"]] == list(range(8, 161, 8))


def test_the_end_of_a_run_is_noted_once_the_full_disk_has_room(small_disk: Path, tmp_path: Path) -> None:
    """Till then the shipper does not know of it, and the launcher waits for the shipper: here longer than this test does."""
    (tmp_path / "runs").symlink_to(small_disk)
    typed = ("hardware=cpu", "schedule.epochs=20", "checkpointing.every=5", "tracking.flush_timeout=3600")
    running = Running(tmp_path, *SMALL, *typed)
    run = running.wait_for_step(41)
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


def test_room_for_the_checkpoints_is_looked_for_before_the_start(small_disk: Path) -> None:
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


def test_the_launcher_refuses_a_disk_without_room(small_disk: Path, command: Callable) -> None:
    outcome = command(*with_last(*SMALL, "model.embed_dim=512"), "tracking=none", f"runs_dir={small_disk}", "hardware=cpu")
    assert outcome.code == 2 and "MB are free" in outcome.err and list(small_disk.iterdir()) == []


# ------------------------------------------------------------------------------------------ the parts alone


def test_the_error_of_the_writing_thread_surfaces(tmp_path: Path) -> None:
    run = prepared(tmp_path, "error")
    with saver_of(run, Report(run, status.Status())) as saver:
        saver.save(8, lambda: {"model": {"a": np.zeros(3, np.complex64)}}, {"best": {}})  # no type of a checkpoint
        with pytest.raises(KeyError, match="complex64"):
            saver.wait()
    assert list(run.checkpoints.iterdir()) == []


def test_when_checkpoints_are_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = ("checkpointing.every=2", "checkpointing.every_steps=5", "checkpointing.every_minutes=0.001")
    run = prepared(tmp_path, "due", *extra)
    now = 0.0
    monkeypatch.setattr("deit.engine.saver.time", SimpleNamespace(monotonic=lambda: now))
    saver = saver_of(run, Report(run, status.Status()))
    assert [step for step in range(33) if saver.due(step)] == [5, 10, 15, 16, 20, 25, 30, 32]
    saver.at(16)
    assert not saver.due(16)
    now = 0.07
    assert saver.due(17) and not saver.due_by_steps(17)


@pytest.mark.parametrize("passes", [1, 2])
def test_the_images_named_are_those_of_the_step(passes: int, tmp_path: Path) -> None:
    from deit.data.loader import TrainLoader

    config = composed(*SMALL, "hardware=cpu2", "data.batch_size=8", f"optim.accumulation_steps={passes}")
    data = open_dataset(config.data, train=True)
    steps = 256 // 16 // passes
    named = images_of(config, data, steps + 3, 2)
    assert named["epoch"] == 1
    for rank in (0, 1):
        batches = TrainLoader(config, data, rank, 2).epoch(1, start=3 * passes)
        taken = np.concatenate([next(batches).indices for _ in range(passes)])
        batches.close()
        assert [entry["index"] for entry in named["ranks"][rank]] == taken.tolist()


def test_a_dynamic_loss_scale_excuses_overflows_until_it_is_at_its_end() -> None:
    from mindspore import Tensor

    def add(meter: Meter, step: int, finite: bool, scale: float) -> None:
        meter.add(step, [Tensor(np.float32(1 if finite else np.inf))], Tensor(1.0), Tensor(finite), Tensor(scale))

    meter = Meter(dynamic=True)
    meter.begin(4.0)
    for step, (finite, scale) in enumerate([(False, 2), (False, 1), (False, 1), (True, 1), (False, 1)]):
        add(meter, step, finite, scale)
    assert meter.has_bad() and meter.bad() == [Bad(2, np.inf, 1), Bad(4, np.inf, 1)] and not meter.has_bad()
    again = Meter(dynamic=True)
    again.begin(1.0, json.loads(json.dumps(meter.saved())))
    add(again, 5, False, 1)
    assert again.bad() == [Bad(5, np.inf, 2)]
    assert again.metrics(0.0, 1)["train/overflows"] == 5


def test_rollback_gives_up_where_it_cannot_help(tmp_path: Path) -> None:
    config = composed(*SMALL, "optim.on_nonfinite=rollback", "optim.max_nonfinite=2")
    run = prepared(tmp_path, "give_up")
    watch = Watch(config, Report(run, status.Status()))
    assert watch.judge([]) is Verdict.GO_ON
    assert watch.judge([Bad(10, np.nan, 1)]) is Verdict.ROLL_BACK
    assert not watch.returns_to(None) and not watch.returns_to(11) and watch.returns_to(8)
    assert watch.judge([Bad(9, np.nan, 1)]) is Verdict.ROLL_BACK and watch.returns_to(8)
    assert watch.judge([Bad(11, np.nan, 1)]) is Verdict.ROLL_BACK and not watch.returns_to(8)
    assert watch.judge([Bad(10, np.nan, 1)]) is Verdict.STOP


def test_stop_at_the_first_and_skip_up_to_so_many_in_a_row(tmp_path: Path) -> None:
    run = prepared(tmp_path, "watched")
    report = Report(run, status.Status())
    stop = Watch(composed(*SMALL), report)
    assert stop.judge([Bad(4, np.nan, 1)]) is Verdict.STOP
    data = open_dataset(composed(*SMALL).data, train=True)
    told = str(stop.stop(run, data, 1, 0))
    assert (
        "step 4" in told and "diverged" in told and "optim.on_nonfinite=skip" in told and read_json(run.nonfinite)["step"] == 4
    )
    skip = Watch(composed(*SMALL, "optim.on_nonfinite=skip", "optim.max_nonfinite=3"), report)
    assert skip.judge([Bad(4, np.nan, 1), Bad(5, np.nan, 2)]) is Verdict.GO_ON
    assert skip.judge([Bad(7, np.nan, 1)]) is Verdict.GO_ON
    assert skip.judge([Bad(8, np.nan, 2), Bad(9, np.nan, 3)]) is Verdict.STOP
    assert "step 9: optim.max_nonfinite=3 steps in a row" in str(skip.stop(run, data, 1, 0))


def finished(tmp_path: Path, state: str, *extra: str) -> RunConfig:
    run = prepared(tmp_path, "finished", *extra)
    checkpoint.write(run, 16, {"model": WEIGHTS}, {"train_images": 256})
    status.write(run, status.Status(state=state))
    return dataclasses.replace(frozen.load(run.config), resume=str(run.path))


def test_what_is_left_to_do(tmp_path: Path) -> None:
    config = finished(tmp_path, FINISHED)
    with pytest.raises(UserError, match="already finished step 16 of 16"):
        check_unfinished(config)
    check_unfinished(finished(tmp_path, FAILED))  # killed in its last evaluation
    longer = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, epochs=3))
    check_unfinished(longer)
    shorter = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, max_steps=12))
    with pytest.raises(UserError, match=r"schedule\.max_steps=12 ends the training with step 12, but .* has done 16"):
        check_unfinished(shorter)
