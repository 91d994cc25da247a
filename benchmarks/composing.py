"""How long `python launch.py --cfg job` takes to compose and check a recipe, beside a program that only imports Hydra.

    python benchmarks/composing.py [--rounds 10]

Both are processes of their own, in turns, so that what the machine does meanwhile meets both.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

LAUNCH = Path(__file__).resolve().parents[1] / "launch.py"
PROGRAMS = {
    "import hydra": [sys.executable, "-c", "import hydra"],
    "compose and check": [sys.executable, str(LAUNCH), "experiment=deit_small_paper", "--cfg", "job"],
}


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


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
    ratios = [ours / alone for ours, alone in zip(taken["compose and check"], taken["import hydra"], strict=True)]
    print(f"ratio, median of {rounds} rounds: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
