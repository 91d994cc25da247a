"""The command and the environment of the workers."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import pytest
from composition import composed

from deit.launching.worker_command import worker_command, worker_environment
from deit.runs import directory
from deit.runs.run_processes import RUN_VARIABLE


def test_one_process_is_started_directly_and_several_by_msrun(tmp_path: Path) -> None:
    one = composed("experiment=quickstart", "hardware=cpu")
    assert worker_command(one, tmp_path) == [sys.executable, "-m", "deit.worker", str(tmp_path)]
    machine = dataclasses.replace(one.hardware, cards=2, nodes=2, node_rank=1, master_addr="10.0.0.1", master_port=None)
    several = worker_command(dataclasses.replace(one, hardware=machine), tmp_path, port=9999)
    for option in (
        "worker_num=4",
        "local_worker_num=2",
        "node_rank=1",
        "master_addr=10.0.0.1",
        "master_port=9999",
        "join=True",
    ):
        assert f"--{option}" in several
    assert several[-4:] == ["python", "-m", "deit.worker", str(tmp_path)]


def test_workers_see_their_cards_and_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_PASSWORD", "RANK_ID"):
        monkeypatch.setenv(name, "secret")
    run = directory.create(tmp_path, "run")
    machine = dataclasses.replace(composed("hardware=cpu", "experiment=quickstart").hardware, target="ascend", cards=2)
    found = worker_environment(machine, run, [4, 6])
    assert found["ASCEND_RT_VISIBLE_DEVICES"] == "4,6" and "secret" not in found.values()
    assert str(run.path) in found[RUN_VARIABLE]
    assert found["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_ranks_of_one_machine_speak_to_their_scheduler_every_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = directory.create(tmp_path, "run")
    one = dataclasses.replace(composed("hardware=cpu", "experiment=quickstart").hardware, cards=2)
    several = dataclasses.replace(one, nodes=2, master_addr="10.0.0.1")
    names = ("MS_RETRY_INTERVAL_LOWER", "MS_RETRY_INTERVAL_UPPER")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert [worker_environment(one, run)[name] for name in names] == ["1", "1"]
    assert not set(names) & worker_environment(several, run).keys()
    for name in names:
        monkeypatch.setenv(name, "2")
    assert [worker_environment(one, run)[name] for name in names] == ["2", "2"]
