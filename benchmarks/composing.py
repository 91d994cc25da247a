"""How long `python launch.py --cfg job` takes to compose and check a recipe, compared with a bare Hydra app.

    python benchmarks/composing.py [--rounds 10]

Each runs in its own process, in turns, so that other load affects all equally. The bare app has no configuration files, no
schema and no checks. Seconds are CPU time, so they are valid on a busy machine; all programs run once before, so that Python
finds their modules compiled.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

LAUNCH = Path(__file__).resolve().parents[1] / "launch.py"
BARE = """
import hydra

@hydra.main(version_base="1.3", config_path=None)
def app(config):
    pass

app()
"""
RECIPE = "experiment=deit_small_paper"
PROGRAMS = {
    "import hydra": [sys.executable, "-c", "import hydra"],
    "bare app": [sys.executable, "-c", BARE, "--cfg", "job"],
    "--cfg job": [sys.executable, str(LAUNCH), RECIPE, "--cfg", "job"],
    "a typo's message": [sys.executable, str(LAUNCH), RECIPE, "optim.base_lt=1"],
    "all checks": [sys.executable, str(LAUNCH), RECIPE, "schedule.warmup_epochs=400"],  # which contradicts schedule.epochs
}


def seconds(command: list[str]) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, env=environment)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for number in range(rounds + 1):
        for name, command in PROGRAMS.items():
            took = seconds(command)
            if number > 0:
                taken[name].append(took)
    for name, values in taken.items():
        ratios = [ours / alone for ours, alone in zip(values, taken["bare app"], strict=True)]
        print(
            f"{name:18} {statistics.median(values):.3f} s  ({min(values):.3f} - {max(values):.3f})  "
            f"{statistics.median(ratios):.2f} x the bare app"
        )


if __name__ == "__main__":
    main()
