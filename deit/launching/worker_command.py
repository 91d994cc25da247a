"""The command line and environment of the worker processes."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from deit.config.schema import HardwareConfig, RunConfig
from deit.machine import cards as hardware
from deit.machine import leases
from deit.runs.directory import RunDirectory
from deit.secrets import SECRETS

ROOT = Path(__file__).resolve().parents[2]  # where the package stands
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOCAL_PORTS = range(10_000, 20_000)  # of schedulers on this machine; those of jobs of Slurm follow (``deit.machine.slurm``)
RUN_VARIABLE = "DEIT_RUN_DIRECTORY"  # marks every process of a run, whoever its parent is


def run_mark(run: RunDirectory, node_rank: int | None) -> str:
    """The value of RUN_VARIABLE: the run, and which of its machines, should two of them be one."""
    return f"{run.path} node {node_rank}" if node_rank else str(run.path)


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
        *(["--bind_core=True"] if machine.bind_core else []),
        *([f"--rank_table_file={machine.rank_table}"] if machine.rank_table else []),
        "--join=True",
        f"--tail_worker_log={machine.cards * machine.nodes}",  # no such rank: its `tail -f` would outlive a killed msrun
        "python",  # msrun knows it by this name and takes it from PATH: worker_environment puts ours first
        *program,
    ]


def python_environment() -> dict[str, str]:
    """This process's environment for another Python of ours: the package is found wherever that one works."""
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)}


def worker_environment(machine: HardwareConfig, run: RunDirectory, cards: Sequence[int] = ()) -> dict[str, str]:
    """The environment of the workers: this interpreter first in PATH, the cards chosen for them, no foreign run."""
    environment = python_environment()
    # A worker that knew an MLflow run would end it at its own exit.
    for name in ("MLFLOW_RUN_ID", "MS_ROLE", "RANK_ID", "RANK_SIZE", "MS_WORKER_NUM"):
        environment.pop(name, None)
    for name in SECRETS:  # they talk to no server, and what they log stays in the run directory
        environment.pop(name, None)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    environment["PYTHONUNBUFFERED"] = "1"
    environment["GLOG_v"] = environment.get("GLOG_v", "3")  # MindSpore: errors only
    environment[RUN_VARIABLE] = run_mark(run, machine.node_rank)
    if cards:
        environment[hardware.VISIBLE[machine.target]] = ",".join(map(str, cards))
    share = hardware.cores() // machine.cards
    if machine.target == "cpu" and share < (os.cpu_count() or 1):
        # Processes of one CPU share its cores, instead of each starting a thread for every core.
        environment["OMP_NUM_THREADS"] = str(max(1, share))
    return environment


def lease_port(holder: str) -> tuple[int, leases.Lease]:
    """A port nobody listens on, and the lease that keeps other launches from choosing it too.

    The scheduler listens there seconds later, when it has imported MindSpore. So the port is none of those that Linux gives to
    any connection of this machine meanwhile.
    """
    while True:
        port = secrets.choice(_quiet_ports())
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        lease = leases.take("port", port, holder)
        if lease is not None:
            return port, lease


def _quiet_ports() -> range:
    """Ports below those that Linux gives out by itself (ip(7)), as far as it leaves some."""
    try:
        first = int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):  # hidden in this container
        first = LOCAL_PORTS.stop
    return range(LOCAL_PORTS.start, min(first, LOCAL_PORTS.stop)) or LOCAL_PORTS
