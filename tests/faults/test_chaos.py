"""A short run of the random fault injection; `benchmarks/chaos.py` is the long one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "benchmarks" / "chaos.py"


# The faults of this seed come soon, so that the trainings can be short.
FAULTS = ("--faults", "2", "--seed", "11", "--steps", "100")


def test_training_survives_random_faults_with_the_same_bits(tmp_path: Path) -> None:
    kinds = ("kill worker", "bit flip")
    ended = subprocess.run(
        [sys.executable, str(BENCH), *FAULTS, "--kinds", *kinds],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for kind in kinds:  # tries, survived, runs, same bits, lost points, doubled
        assert re.search(rf"│ {kind} +│ +1 │ +1 │ +(\d+) │ +\1 │ +0 │ +0 │", ended.stdout), ended.stdout
