"""Real launches: small trainings, in the foreground or background, and the contents of their run directories."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from command import LAUNCH, ROOT, with_last

from deit.runs import checkpoint, status
from deit.runs.directory import RunDirectory
from deit.runs.journal import read

# Small enough that a run takes seconds, with all the machinery of the quickstart.
SMALL = (
    "experiment=quickstart",
    "model.embed_dim=16",
    "model.depth=2",
    "model.num_heads=2",
    "model.drop_path_rate=0.1",
    "data.train_limit=256",
    "data.val_limit=100",
    "data.eval_batch_size=64",
    "data.batch_size=32",
    "schedule.epochs=4",
    "schedule.eval_every=1",
    "checkpointing.every=1",
    "schedule.warmup_epochs=1",
    "ema.decay=0.9",
    "tracking.log_every=3",
)
# Two epochs of two steps, without processes for images.
SHORT = (
    "experiment=quickstart",
    "model.embed_dim=16",
    "model.num_heads=2",
    "data.train_limit=64",
    "data.val_limit=50",
    "data.batch_size=32",
    "data.workers=0",
    "schedule.epochs=2",
    "schedule.warmup_epochs=1",
    "schedule.eval_every=1",
    "checkpointing.every=1",
    "ema.decay=0.9",
    "hardware=cpu",
    "tracking=none",
)
# SMALL with two steps per epoch, and without processes for images: it compiles the same.
BRIEF = (*SMALL, "data.train_limit=64", "data.val_limit=50", "data.workers=0")
# The $DEIT_CACHE of all tests: many train the same network, and one of them compiles it.
SHARED_CACHE = ROOT / ".pytest_cache" / "deit"
PATIENCE = 900.0  # seconds for what takes one, on a machine that has other things to do


def own_cache(folder: Path, name: str = "cache") -> Path:
    """A $DEIT_CACHE for a test that looks into it; its compiled steps are those of all tests."""
    cache = folder / name
    cache.mkdir()
    (SHARED_CACHE / "compiled").mkdir(parents=True, exist_ok=True)
    (cache / "compiled").symlink_to(SHARED_CACHE / "compiled")
    return cache


def launch(folder: Path, *arguments: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LAUNCH), *with_last(*arguments)], cwd=folder, capture_output=True, text=True, timeout=timeout
    )


def only_run(folder: Path, name: str = "quickstart") -> RunDirectory:
    (path,) = (folder / "runs" / name).iterdir()
    return RunDirectory(path)


def metrics(run: RunDirectory) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for _, record in read(run.journal):
        for name, value in record.get("metrics", {}).items():
            found.setdefault(name, []).append((record["step"], value))
    return found


def same_weights(a: Path, b: Path, atol: float = 0.0) -> None:
    """The same bits, or with ``atol`` nearly the same numbers."""
    for part in ("model", "ema", "optimizer"):
        first, second = checkpoint.read_part(a, part), checkpoint.read_part(b, part)
        assert first.keys() == second.keys()
        for name in first:
            if atol:
                np.testing.assert_allclose(first[name], second[name], atol=atol, err_msg=f"{part} {name}")
            else:
                np.testing.assert_array_equal(first[name], second[name], err_msg=f"{part} {name}")


def signal_workers(run: RunDirectory, number: int) -> None:
    """Signal all workers of a run. SIGSTOP keeps a training unfinished until SIGCONT, however slow the machine is."""
    for file in run.logs.glob("worker_*.pid"):
        os.kill(int(file.read_text()), number)


class Running:
    """A launch in the background whose progress can be awaited."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.output = folder / "output.txt"
        with open(self.output, "w") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(LAUNCH), *with_last(*arguments)], cwd=folder, stdout=output, stderr=subprocess.STDOUT
            )

    def wait_for_step(self, step: int, timeout: float = PATIENCE) -> RunDirectory:
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.poll() is None:
            for path in self.folder.glob("runs/*/*"):
                if status.read(RunDirectory(path)).progress.get("step", -1) >= step:
                    return RunDirectory(path)
            time.sleep(0.05)
        raise AssertionError(f"no step {step}: {self.output.read_text()}")

    def end(self, timeout: float = PATIENCE) -> int:
        return self.process.wait(timeout)
