"""Our steps compiled by MindSpore's own Ascend backend, without a card: ``stand_ins`` says what that shows and what not.

A case fails on an operator that runs on the CPU, on an operator or types that nobody has reviewed (``operators.json``), and on
more kernels, all-reduces or synchronisations than ``counts.json`` has. Where a change is right,
``python tests/ascend/dry_run.py --cases NAME --write`` writes both files; review the difference.
"""

from __future__ import annotations

import pytest
from ascend import dry_run, stand_ins
from ascend.cases import CASES, Case
from ascend.kernels import Kernels

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def compiled() -> dict[str, Kernels]:
    if (reason := stand_ins.missing()) is not None:
        pytest.skip(reason)
    return dry_run.compile_all(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_step_compiles_for_ascend(case: Case, compiled: dict[str, Kernels]) -> None:
    found = compiled[case.name]
    assert found.launched > 20, "the dump of the graphs was not read"
    counts, reviewed = dry_run.stored(dry_run.COUNTS), dry_run.stored(dry_run.OPERATORS)
    wrong = dry_run.faults(found, counts.get(case.name), reviewed)
    assert not wrong
