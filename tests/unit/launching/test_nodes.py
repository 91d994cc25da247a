"""Messages between the launchers of several machines."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from composition import composed

from deit.config.schema import HardwareConfig
from deit.errors import UserError
from deit.launching.nodes import Machines, Meeting, Word
from deit.runs import directory, status
from deit.runs.outcome import failed, finished


def on(node: int) -> HardwareConfig:
    return dataclasses.replace(composed("experiment=quickstart").hardware, cards=2, nodes=2, node_rank=node)


def test_end_of_a_node_reaches_the_other_nodes_with_its_name(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "one")
    first, second = Machines(run, on(0)), Machines(run, on(1))
    assert (list(first.ranks), list(second.ranks), first.first, second.first) == ([0, 1], [2, 3], True, False)
    final = status.Status(progress={"dead_rank": 3})
    final.outcome = failed("rank 3 is gone")
    second.tell(final)
    (word,) = first.heard()
    assert word.outcome == failed("machine 1: rank 3 is gone") and word.dead_rank == 3 and second.heard() == []
    assert Machines(run, on(0)).heard() == []  # a word of an earlier start
    assert Word(1, "failed", 1, "machine 2: x").outcome.message == "machine 2: x"  # passed on


def test_stop_request_is_not_an_end(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "one")
    first, second = Machines(run, on(0)), Machines(run, on(1))
    second.tell(status.Status(status.RUNNING), signal=15)
    (word,) = first.heard()
    assert (word.state, word.signal) == (status.RUNNING, 15)


def test_single_machine_writes_no_node_file(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "one")
    alone = Machines(run, dataclasses.replace(on(0), nodes=1))
    final = status.Status()
    final.outcome = finished()
    alone.tell(final)
    assert not list(run.logs.glob("node_*")) and alone.heard() == []


def test_launchers_of_a_job_step_share_one_run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed("experiment=quickstart", f"runs_dir={tmp_path}")
    machines = [dataclasses.replace(on(node), cluster_timeout=1) for node in (0, 1)]
    for name, value in {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "SLURM_STEP_ID": "0"}.items():
        monkeypatch.setenv(name, value)
    first, second = (Meeting(dataclasses.replace(config, hardware=machine)) for machine in machines)
    assert (first.joins, second.joins) == (False, True)
    with pytest.raises(UserError, match=r"created no run directory within hardware\.cluster_timeout=1 s"):
        second.join()
    run = directory.create(tmp_path, "one")
    first.announce(run)
    assert second.join().path == run.path
    first.end()
    assert not list(tmp_path.glob(".slurm_*"))
