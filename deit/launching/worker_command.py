"""The command line and environment of the worker processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deit.config.schema import HardwareConfig, RunConfig
from deit.machine.cards import VISIBLE, cores
from deit.machine.python import msrun, python_environment
from deit.runs.directory import RunDirectory
from deit.runs.run_processes import RUN_VARIABLE, run_mark
from deit.secrets import SECRETS


def worker_command(config: RunConfig, run_path: str | os.PathLike[str], port: int | None = None) -> list[str]:
    """The command that starts all workers of this machine: one process directly, several through msrun.

    ``port`` is the scheduler's; the default is ``hardware.master_port`` or a placeholder.
    """
    machine = config.hardware
    program = ["-m", "deit.worker", str(run_path)]
    if machine.cards * machine.nodes == 1:
        return [sys.executable, *program]
    return [
        msrun(),
        f"--worker_num={machine.cards * machine.nodes}",
        f"--local_worker_num={machine.cards}",
        *([f"--node_rank={machine.node_rank}"] if machine.nodes > 1 else []),
        f"--master_addr={machine.master_addr or '127.0.0.1'}",
        f"--master_port={port or machine.master_port or 'FREE'}",
        f"--log_dir={RunDirectory(run_path).logs}",
        f"--cluster_time_out={machine.cluster_timeout}",
        *(["--bind_core=True"] if machine.bind_core else []),
        *([f"--rank_table_file={machine.rank_table}"] if machine.rank_table else []),
        "--join=True",
        f"--tail_worker_log={machine.cards * machine.nodes}",  # a missing rank: its `tail -f` would outlive a killed msrun
        "python",  # msrun requires this name and takes it from PATH: worker_environment puts ours first
        *program,
    ]


def worker_environment(machine: HardwareConfig, run: RunDirectory, cards: Sequence[int] = ()) -> dict[str, str]:
    """The environment of the workers: this interpreter first in PATH, their cards, no variables of other runs."""
    environment = python_environment()
    # A worker that sees an MLflow run id would end that run at exit.
    for name in ("MLFLOW_RUN_ID", "MS_ROLE", "RANK_ID", "RANK_SIZE", "MS_WORKER_NUM"):
        environment.pop(name, None)
    for name in SECRETS:  # workers contact no server, and their logs stay in the run directory
        environment.pop(name, None)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    environment["PYTHONUNBUFFERED"] = "1"
    environment["GLOG_v"] = environment.get("GLOG_v", "3")  # MindSpore: errors only
    environment[RUN_VARIABLE] = run_mark(run, machine.node_rank)
    if machine.nodes == 1:
        # MindSpore's default is 3 to 5 seconds, which spares the scheduler of many machines. A rank that has finished waits for
        # its next heartbeat, and one that connects before its scheduler is ready tries again as late.
        for name in ("MS_RETRY_INTERVAL_LOWER", "MS_RETRY_INTERVAL_UPPER"):
            environment.setdefault(name, "1")
    if cards:
        environment[VISIBLE[machine.target]] = ",".join(map(str, cards))
    share = cores() // machine.cards
    if machine.target == "cpu" and share < (os.cpu_count() or 1):
        # Processes of one CPU share its cores, instead of each starting a thread per core.
        environment["OMP_NUM_THREADS"] = str(max(1, share))
    return environment
