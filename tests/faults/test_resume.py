"""Kills at the worst moments, damaged checkpoints, steps that are not finite: real runs that resume bit for bit."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
from command import LAUNCH, with_last
from composition import composed
from launching import PATIENCE, SMALL, launch, metrics, only_run, same_weights
from prepared_runs import events, flip, prepared

from deit.files import read_json
from deit.models.shapes import parameter_shapes
from deit.randomness import generator
from deit.runs import checkpoint, directory, status
from deit.runs.directory import RunDirectory
from deit.runs.journal import read
from deit.runs.outcome import FINISHED
from deit.runs.run_processes import kill_all

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
    "hardware=cpu2",
    "data.batch_size=8",
    "data.eval_batch_size=1",  # so that an evaluation is many steps, one of which is caught
    "schedule.epochs=2",
    "checkpointing.every_steps=3",
    "tracking.log_every=5",
    "tracking=none",
)


def teacher(folder: Path) -> str:
    """A file of random weights that can teach."""
    model = composed(*with_last(*SMALL, "model.depth=1", "model.drop_path_rate=0"), "hardware=cpu").model
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
        """SIGKILL the worker at ``moment``, which is checked while rank 0 is paused."""
        end, begun = time.monotonic() + PATIENCE, False
        while time.monotonic() < end and self.launcher.poll() is None:
            for path in self.folder.glob("runs/quickstart/*"):
                run = RunDirectory(path)
                now = status.read(run)
                pid, begun = now.worker_pid, now.progress.get("step", 0) > 0
                if pid is None or now.state != status.RUNNING or not moment(run):
                    continue
                if stopped(pid) and moment(run):
                    victim = int((run.logs / f"worker_{rank}.pid").read_text())
                    os.kill(victim, signal.SIGKILL)
                    os.kill(pid, signal.SIGCONT) if rank else None
                    assert self.launcher.wait(PATIENCE) == 1
                    return run
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            # A start takes seconds of computing, which looking often would double; after it a moment may be short.
            time.sleep(0.005 if begun else 0.1)
        raise AssertionError((self.folder / "output.txt").read_text())


def stopped(pid: int) -> bool:
    """Pause a process, and wait until it is paused; False if it has ended."""
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
    return now.get("phase") == "evaluating EMA"


def ahead(run: RunDirectory) -> bool:
    """The journal has metrics that no checkpoint has."""
    newest_one = max((int(path.name.removeprefix("step_")) for path in checkpoint.complete(run)), default=0)
    return 3 <= newest_one < max((step for step, _ in metrics(run).get("train/loss", [])), default=0)


def same_history(one: RunDirectory, other: RunDirectory) -> None:
    first, second = metrics(one), metrics(other)
    assert first.keys() == second.keys()
    for name in first:
        if not name.startswith("perf/"):
            assert first[name] == second[name], name
        steps = Counter(step for step, _ in second[name])
        assert max(steps.values()) == 1, f"{name} is twice in the journal"


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


def test_two_processes_killed_during_an_evaluation_and_a_checkpoint_end_with_the_same_bits(
    folders: tuple[Path, Path],
) -> None:
    whole, killed = folders
    recipe = (*EVERYTHING, f"distill.teacher={teacher(whole)}")
    victim = Victim(killed, *recipe)
    run = victim.ask_for_stacks()
    victim.kill_when(lambda run: evaluating(run) and ahead(run), rank=1)
    for rank in (0, 1):
        stacks = (run.logs / f"worker_{rank}.log").read_text()
        assert "Current thread" in stacks and "train.py" in stacks and "Thread 0x" in stacks
    Victim(killed, "resume=last", stuck_disk=True).kill_when(writing)
    assert list(run.checkpoints.glob(".step_*.tmp"))  # half a checkpoint, which nothing may take for one
    # One after the other, so that the step is compiled once.
    for folder, arguments in ((killed, ("resume=last",)), (whole, recipe)):
        ended = launch(folder, *arguments, timeout=PATIENCE)
        assert ended.returncode == 0, ended.stderr
    same_end(only_run(whole), run)
    assert not list(run.checkpoints.glob(".*"))
    overflows = metrics(run)["train/overflows"]
    assert overflows[0][1] >= 2 and overflows[-1][1] > overflows[0][1]  # at the beginning, and again later
    assert [r["event"] for _, r in read(run.journal) if r["kind"] == "event"] == ["teacher", "resumed", "resumed"]


# Of each process that finds it: the mixing of the steps in $SPOILT, each as often as it says there, is not finite.
SPOIL = """
import importlib.abc, importlib.util, json, os, sys

spoilt = json.loads(os.environ["SPOILT"])

class Spoil(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "deit.engine.step_randomness":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), spoil(module))
        return spec

def spoil(module):
    drawn = module.mix

    def mix(config, step, rank):
        import numpy as np
        from mindspore import Tensor
        blend, box, lam = drawn(config, step, rank)
        if spoilt.get(str(step), 0) > 0:
            spoilt[str(step)] -= 1
            lam = Tensor(np.full(lam.shape, np.nan, np.float32))
        return blend, box, lam

    module.mix = mix

sys.meta_path.insert(0, Spoil())
"""


def work(folder: Path, run: RunDirectory, spoilt: Sequence[int] = (), times: int = 1) -> tuple[int, str]:
    """A worker on a run, the mixing of some steps spoilt; returns (exit code, what it said).

    Each run has its own: only the first of a process reads the step that the trainings of other tests have compiled.
    """
    (folder / "sitecustomize.py").write_text(SPOIL)
    environment = {
        "PYTHONPATH": os.pathsep.join([str(folder), str(LAUNCH.parent)]),
        "SPOILT": json.dumps(dict.fromkeys(spoilt, times)),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "deit.worker", str(run.path)],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return ended.returncode, ended.stderr


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    """A clean run, and each policy under steps that are not finite; one of them without compiling its steps, so a short one."""
    folder = tmp_path_factory.mktemp("small")
    compiled = "hardware.jit=true"
    policies: dict[str, tuple[tuple[int, ...], int, tuple[str, ...]]] = {
        "clean": ((), 0, (compiled,)),
        "skipped": (
            (1, 2, 5),
            1,
            ("optim.on_nonfinite=skip", "optim.max_nonfinite=3", "model.depth=1", "schedule.max_steps=6"),
        ),
        "rolled_back": ((10, 13), 1, ("optim.on_nonfinite=rollback", "checkpointing.every_steps=4", compiled)),
        "in_vain": ((10,), 9, ("optim.on_nonfinite=rollback", compiled)),
    }
    runs = {name: prepared(folder, name, *extra) for name, (_, _, extra) in policies.items()}
    ended = {name: work(folder, runs[name], steps, times) for name, (steps, times, _) in policies.items()}
    assert [code for code, _ in ended.values()] == [0, 0, 0, 1], ended
    return runs


def test_skip_leaves_out_bad_batches_and_counts_them(small: dict[str, RunDirectory]) -> None:
    run = small["skipped"]
    assert status.read(run).state == FINISHED
    assert metrics(run)["train/overflows"][-1] == (6, 3.0)
    assert all(np.isfinite(value) for _, value in metrics(run)["train/loss"])
    assert [step for event in events(run, "nonfinite") for step in event["steps"]] == [1, 2, 5]
    assert checkpoint.read_part(checkpoint.complete(run)[-1], "optimizer")["step"] == 3
    assert any("step skipped: 5" in text for text in status.read(run).progress["notices"])


def test_rollback_repeats_steps_and_ends_with_the_bits_of_a_clean_run(small: dict[str, RunDirectory]) -> None:
    run = small["rolled_back"]
    assert [(event["step"], event["checkpoint"]) for event in events(run, "rollback")] == [(10, 8), (13, 12)]
    same_weights(checkpoint.complete(small["clean"])[-1], checkpoint.complete(run)[-1])
    same_history(small["clean"], run)


def test_rollback_stops_if_the_same_step_fails_again_and_names_the_images(small: dict[str, RunDirectory]) -> None:
    run = small["in_vain"]
    told = status.read(run).message
    assert told and "step 10" in told and "again after a return" in told and str(run.nonfinite) in told
    named = read_json(run.nonfinite)
    assert (named["step"], named["epoch"], len(named["ranks"][0])) == (10, 1, 32)
    assert named["ranks"][0][0]["image"].startswith("digits")


def test_damaged_checkpoints_are_skipped_and_kept(small: dict[str, RunDirectory], tmp_path: Path) -> None:
    """Several kinds of damage in one run: it resumes from the oldest checkpoint, and ends like the clean run."""
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
    code, said = work(tmp_path, run)
    assert code == 0, said
    assert [event["kept_as"] for event in events(run, "damaged_checkpoint")] == [
        f"damaged_step_000000{step:02}" for step in (16, 12, 11, 10, 9)
    ]
    assert all((run.checkpoints / event["kept_as"]).is_dir() for event in events(run, "damaged_checkpoint"))
    assert said.count("The run resumes from step_00000008") == 5 and len(status.read(run).progress["notices"]) == 5
    same_weights(checkpoint.complete(run)[-1], kept if kept.exists() else checkpoint.complete(clean)[-1])
    same_history(clean, run)
