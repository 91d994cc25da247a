"""environment.json: a record of each launch of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from composition import freeze
from npu_tables import A2, stand_in

from deit.files import read_json
from deit.machine import environment
from deit.runs.circumstances import last_launch, note_device, note_launch
from deit.runs.directory import RunDirectory
from deit.tracking import describe


def test_the_cards_of_a_launch_are_known_before_and_after_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path / "bin", A2, monkeypatch)
    config, run = freeze("model=deit_small", "hardware=ascend8", "hardware.cards=2"), RunDirectory(tmp_path)
    note_launch(run, environment.describe(config, [2, 5]), [])
    expected = {"names": ["910B3", "910B3"], "generation": "910B", "driver": "24.1.rc3"}
    assert last_launch(run)["npu"] == expected and last_launch(run)["card_ids"] == [2, 5]
    device = {"target": "Ascend", "soc": "ascend910b", "generation": "910B"}
    note_device(run, device | {"overflow_mode": "INFNAN_MODE", "jit_level": "O1", "deterministic": True})
    tags = describe.tags(run, config)
    assert "computed on Ascend 910B: overflow_mode `INFNAN_MODE`, jit_level `O1`, deterministic" in describe.note(run, config)
    assert (tags["npu.names"], tags["npu.generation"], tags["device.soc"]) == ('["910B3", "910B3"]', "910B", "ascend910b")

    note_launch(run, environment.describe(freeze("hardware=cpu")), ["resume=last"])
    note_device(run, {"target": "CPU"})
    assert "computed on" not in describe.note(run, config)
    assert last_launch(run)["device"] == {"target": "CPU"} and "npu" not in last_launch(run)
    assert last_launch(run)["overrides"] == ["resume=last"]
    first = read_json(run.environment)
    assert first["npu"] == expected and first["device"]["soc"] == "ascend910b" and len(first["resumes"]) == 1
