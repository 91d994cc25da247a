"""How long `python launch.py --cfg job` takes to compose and check a recipe, compared with a bare Hydra app.

    python benchmarks/composing.py [--rounds 10]

Each runs in its own process, in turns, so that other load affects all equally. The bare app has no configuration files, no
schema and no checks; seconds are CPU time, so they are valid on a busy machine.
"""

from __future__ import annotations

import argparse
import os
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
PROGRAMS = {
    "import hydra": [sys.executable, "-c", "import hydra"],
    "bare app": [sys.executable, "-c", BARE, "--cfg", "job"],
    "compose and check": [sys.executable, str(LAUNCH), "experiment=deit_small_paper", "--cfg", "job"],
}


def seconds(command: list[str]) -> float:
    began = os.times()
    subprocess.run(command, check=True, capture_output=True)
    ended = os.times()
    return ended.children_user + ended.children_system - began.children_user - began.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, command in PROGRAMS.items():
            taken[name].append(seconds(command))
    for name, values in taken.items():
        print(f"{name:18} {statistics.median(values):.2f} s  ({min(values):.2f} - {max(values):.2f})")
    ratios = [ours / alone for ours, alone in zip(taken["compose and check"], taken["bare app"], strict=True)]
    print(f"ratio, median of {rounds} rounds: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
