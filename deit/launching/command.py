"""The command line and environment of the worker processes."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from deit.config.schema import HardwareConfig, RunConfig
from deit.launching import hardware
from deit.runs.directory import RunDirectory

ROOT = Path(__file__).resolve().parents[2]  # where the package stands
RUN_VARIABLE = "DEIT_RUN_DIRECTORY"  # marks every process of a run, whoever its parent is


def worker_command(config: RunConfig, run_path: str | os.PathLike[str], port: int | None = None) -> list[str]:
    """The command that starts all workers of this machine: one process directly, several through msrun.

    ``port`` is the scheduler's; without it ``hardware.master_port`` or a placeholder is shown.
    """
    machine = config.hardware
    program = ["-m", "deit.worker", str(run_path)]
    if machine.cards * machine.nodes == 1:
        return [sys.executable, *program]
    return [
        str(Path(sys.executable).with_name("msrun")),
        f"--worker_num={machine.cards * machine.nodes}",
        f"--local_worker_num={machine.cards}",
        *([f"--node_rank={machine.node_rank}"] if machine.nodes > 1 else []),
        f"--master_addr={machine.master_addr or '127.0.0.1'}",
        f"--master_port={port or machine.master_port or 'FREE'}",
        f"--log_dir={RunDirectory(run_path).logs}",
        f"--cluster_time_out={machine.cluster_timeout}",
        "--join=True",
        f"--tail_worker_log={machine.cards * machine.nodes}",  # no such rank: its `tail -f` would outlive a killed msrun
        "python",  # msrun knows it by this name and takes it from PATH: worker_environment puts ours first
        *program,
    ]


def worker_environment(machine: HardwareConfig, run: RunDirectory) -> dict[str, str]:
    """The environment of the workers: this interpreter first in PATH, the chosen cards, no foreign run."""
    environment = dict(os.environ)
    # A worker that knew an MLflow run would end it at its own exit.
    for name in ("MLFLOW_RUN_ID", "MS_ROLE", "RANK_ID", "RANK_SIZE", "MS_WORKER_NUM"):
        environment.pop(name, None)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{environment.get('PYTHONPATH', '')}".rstrip(os.pathsep)
    environment["PYTHONUNBUFFERED"] = "1"
    environment["GLOG_v"] = environment.get("GLOG_v", "3")  # MindSpore: errors only
    environment[RUN_VARIABLE] = str(run.path)
    if machine.target in hardware.VISIBLE:
        chosen = machine.card_ids or hardware.card_ids(machine.target)[: machine.cards]
        environment[hardware.VISIBLE[machine.target]] = ",".join(map(str, chosen))
    elif machine.cards > 1:
        # Processes of one CPU share its cores, instead of each starting a thread for every core.
        environment["OMP_NUM_THREADS"] = str(max(1, hardware.cores() // machine.cards))
    return environment


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
