"""What a job reads from Slurm: its cards, its node rank and the address of the first node."""

from __future__ import annotations

import pytest

from deit.config.schema import HardwareConfig
from deit.errors import UserError
from deit.machine import cards
from deit.machine.slurm import Allocation, allocation, job_cards

# What scontrol 22.05 printed for jobs on two nodes.
SHOWN = """\
JobId=1 JobName=bash
   NodeList=n[1-2]
   TRES=cpu=2,node=2,billing=2
   JOB_GRES=npu:910b:8
     Nodes=n[1-2] CPU_IDs=0 Mem=0 GRES=npu:910b:4(IDX:0-3)
   TresPerNode=gres:npu:4
"""


def test_cards_of_a_job() -> None:
    assert job_cards(SHOWN) == {"n[1-2]": {"npu": [0, 1, 2, 3]}}
    other = SHOWN.replace("Nodes=n[1-2] CPU_IDs=0 Mem=0 GRES=npu:910b:4(IDX:0-3)", "Nodes=n1 CPU_IDs=0 Mem=0 GRES=%s")
    assert job_cards(other % "npu:910b:3(IDX:0,4-5),gpu:a100:1(IDX:7)") == {"n1": {"npu": [0, 4, 5], "gpu": [7]}}
    assert job_cards(other % "npu:910b:4") == {"n1": {"npu": None}}
    assert job_cards(other % "") == {"n1": {}}


def test_node_rank_and_address_in_a_job() -> None:
    step = {
        "SLURM_JOB_ID": "7",
        "SLURMD_NODENAME": "n2",
        "SLURM_NODEID": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_RESTART_COUNT": "1",
    }
    assert allocation(step) == Allocation("7", "n2", 1, "n[1-2]", 2, "7.0.1")
    assert allocation({"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1"}) == Allocation("7", "n1", 0, "n1", 1, "7.batch.0")
    assert allocation({"SLURM_JOB_ID": "7"}) is None  # a shell of salloc on the login node
    assert allocation({}) is None


def test_several_machines_need_node_ranks() -> None:
    machine = HardwareConfig(
        target="cpu",
        cards=1,
        nodes=2,
        node_rank=None,
        master_addr=None,
        master_port=None,
        card_ids=None,
        jit=True,
        cluster_timeout=600,
    )
    placed = cards.resolve(machine)
    assert (placed.node_rank, placed.master_addr, placed.master_port) == (None, None, cards.MASTER_PORT)
    with pytest.raises(UserError, match=r"hardware.node_rank is null.*\n.*hardware.master_addr is null"):
        cards.check(placed)
