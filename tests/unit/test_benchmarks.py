"""The benchmarks compose like the launcher; their measurements are run by hand."""

from __future__ import annotations

import sys

import pytest
from fidelity import ROOT


def test_a_step_is_composed_without_data_or_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    steps = __import__("steps")
    monkeypatch.delitem(sys.modules, "steps")
    config = steps.configuration(("model=deit_tiny", "data.batch_size=16", "precision=fp32", "hardware=cpu"))
    assert (config.model.name, config.data.batch_size, config.data.num_classes) == ("deit_tiny", 16, 1000)
    assert config.hardware.target == "cpu"
