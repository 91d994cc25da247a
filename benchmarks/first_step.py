"""From the command to the first step of the quickstart, beside MindSpore's import, compilation and one step alone.

    python benchmarks/first_step.py [--rounds 5] [OVERRIDE ...]

A round runs the command, the command without MLflow, the command with its step compiled by an earlier run
(hardware.compile_cache), and MindSpore alone, each in processes of its own, in turns. The command's time is that of the first
step's record in the journal. MindSpore alone is a process that imports MindSpore, then builds, compiles and runs the same step;
its start, and everything that is imported for the configuration, is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("experiment=quickstart", "tracking.log_every=1")
BAR = 1.5  # seconds more than MindSpore alone
COMMANDS = {
    "command": ["hardware.compile_cache=false"],
    "command, tracking=none": ["hardware.compile_cache=false", "tracking=none"],
    "command, compiled before": [],
}


def command(overrides: list[str], folder: Path) -> float:
    """Seconds until the first step of a run in ``folder`` was done; the run is stopped then."""
    began = time.time()
    typed = [sys.executable, str(ROOT / "launch.py"), *QUICK, *overrides, f"runs_dir={folder / 'runs'}"]
    with open(folder / "output", "wb") as output:
        process = subprocess.Popen(typed, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        while (done := first_record(folder)) is None:
            if process.poll() is not None:
                raise SystemExit((folder / "output").read_text())
            time.sleep(0.2)
        return done - began
    finally:
        for _ in range(2):  # the second signal does without the checkpoint
            process.terminate()
            time.sleep(1)
        process.wait()


def first_record(folder: Path) -> float | None:
    """When the first step in the journal of the only run was done, in seconds since the epoch."""
    for journal in (folder / "runs").rglob("journal.jsonl"):
        for line in journal.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n") and "train/loss" in (record := json.loads(line)).get("metrics", ()):
                return float(record["time"]) / 1000
    return None


def alone(overrides: list[str]) -> float:
    """In a process of its own: seconds of MindSpore's import and of a first step, with its compilation."""
    began = time.perf_counter()
    import mindspore  # noqa: F401

    imported = time.perf_counter() - began
    import steps  # beside this file

    config = steps.configuration([*QUICK, *overrides])
    began = time.perf_counter()
    steps.train_step(config)()
    return imported + time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", help="as launch.py takes them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.alone:
        print(alone(chosen.overrides))
        return
    found: dict[str, list[float]] = {name: [] for name in (*COMMANDS, "MindSpore alone")}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["DEIT_CACHE"] = cache
        for number in range(chosen.rounds + 1):
            for name, times in found.items():
                if name == "MindSpore alone":
                    child = [sys.executable, __file__, "--alone", *chosen.overrides]
                    took = float(subprocess.run(child, check=True, capture_output=True, text=True).stdout.split()[-1])
                else:
                    with tempfile.TemporaryDirectory() as folder:
                        took = command([*chosen.overrides, *COMMANDS[name]], Path(folder))
                if number > 0:  # the first one fills the cache
                    times.append(took)
    print("| | seconds | more than MindSpore alone | bar |\n|---|---:|---:|---:|")
    for name, times in found.items():
        more = statistics.median(one - other for one, other in zip(times, found["MindSpore alone"], strict=True))
        print(f"| {name} | {statistics.median(times):.1f} | {more:.1f} | {BAR} |")


if __name__ == "__main__":
    main()
