"""The executor for each option of hydra/launcher."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from composition import composed

from deit.errors import UserError
from deit.sweeps.executors.choose import build
from deit.sweeps.executors.local import Local


def test_each_launcher_has_its_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = dataclasses.replace(composed("experiment=quickstart").sweep, cards=3)
    found = build("cards", {}, settings, tmp_path)
    assert isinstance(found, Local) and not found.full
    with pytest.raises(UserError, match=r"sweep\.cards=3 has no effect with hydra/launcher=slurm"):
        build("slurm", {}, settings, tmp_path)
    with pytest.raises(
        UserError, match=r"hydra\.launcher\.nodes=2 has no effect with hydra/launcher=slurm: give hardware\.nodes"
    ):
        build("slurm", {"nodes": 2}, settings, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    options = {"max_num_timeout": 0, "poll_interval": 1.0, "cancel_jobs": True}
    with pytest.raises(UserError, match="there is no `sbatch` here"):
        build("slurm", options, dataclasses.replace(settings, cards=None), tmp_path)
    with pytest.raises(ValueError, match="joblib: no such launcher"):
        build("joblib", {}, settings, tmp_path)


def test_a_trial_must_fit_the_shared_slots(tmp_path: Path) -> None:
    config = composed("experiment=quickstart")
    local = build("cards", {}, dataclasses.replace(config.sweep, cards=2), tmp_path)
    local.check(config)
    for change, message in (
        ({"cards": 3}, r"hardware\.cards=3: the sweep has 2 slots to share \(sweep\.cards=2\)"),
        ({"nodes": 2}, r"hardware\.nodes=2"),
        ({"card_ids": [0, 5]}, r"hardware\.card_ids=\[0, 5\]: \[5\]"),
    ):
        with pytest.raises(UserError, match=message):
            local.check(dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, **change)))
