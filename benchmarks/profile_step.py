"""The time of a train step by operator, for any overrides.

    python benchmarks/profile_step.py experiment=quickstart
    python benchmarks/profile_step.py model=deit_tiny data.batch_size=16 [--steps 5] [--operators 25] [--forward]

The pixels are random and no data are needed. Times are milliseconds per step, the sum over all operators of a kind; they
count time on a core, so with parallel operators they may add up to more than the step, and what is missing is MindSpore's
own bookkeeping and the host.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import steps  # next to this file; first, because it silences MindSpore

from deit.engine import profiling


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", help="as for launch.py")
    parser.add_argument("--steps", type=int, default=5, help="profiled steps")
    parser.add_argument("--operators", type=int, default=25, help="rows of the table")
    parser.add_argument("--forward", action="store_true", help="a forward pass of an evaluation batch instead")
    chosen = parser.parse_args()
    config = steps.configuration(chosen.overrides)
    batch = config.data.eval_batch_size if chosen.forward else config.data.batch_size
    run = steps.forward(config, batch) if chosen.forward else steps.train_step(config)
    began = time.perf_counter()
    run()
    first = time.perf_counter() - began
    for _ in range(8):  # MindSpore tries numbers of threads in the first calls of an operator
        run()
    taken = []
    for _ in range(chosen.steps):
        began = time.perf_counter()
        run()
        taken.append(1000 * (time.perf_counter() - began))
    table = profile(run, chosen.steps)
    total = sum(milliseconds for _, milliseconds, _ in table)
    what = "forward pass" if chosen.forward else "train step"
    print(f"{what} of {config.model.name}, {config.model.img_size} px, batch {batch}, {config.precision.level}")
    print(f"median {statistics.median(taken):.1f} ms without the profiler; first call {first:.1f} s; operators {total:.1f} ms")
    print(f"\n{profiling.table(table, chosen.operators)}")


def profile(run: Callable[[], Any], count: int) -> list[tuple[str, float, int]]:
    """(kind of operator, milliseconds per step, calls per step), the slowest first."""
    with tempfile.TemporaryDirectory() as folder:
        with profiling.Recording(Path(folder), count) as recording:
            for _ in range(count):
                run()
                recording.step()
        return profiling.operators(Path(folder), count)


if __name__ == "__main__":
    main()
