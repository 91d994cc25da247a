"""What Slurm tells a process inside an allocation: node rank, first machine, cards.

Only the processes of a batch script or a job step are on an allocated machine; a shell of ``salloc`` may be elsewhere.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from deit.errors import UserError

GRES = {"ascend": ("npu", "ascend"), "gpu": ("gpu",)}  # prefixes of the generic resource names


@dataclass(frozen=True)
class Allocation:
    """The part of a job that this process belongs to."""

    job: str
    node: str  # the name of this machine
    node_rank: int
    node_list: str  # all machines, in Slurm's notation: ``n[1-2]``
    tasks: int  # processes that Slurm starts for this step, on all machines together
    start: str  # identifies this step and this start of a requeued job: ``12.0.1``


def allocation(environment: Mapping[str, str] = os.environ) -> Allocation | None:
    """The allocation that this process runs in; None outside of Slurm."""
    job, node = environment.get("SLURM_JOB_ID"), environment.get("SLURMD_NODENAME")
    if not job or not node:
        return None
    # Processes of a batch script also have a step's variables; the script is one task on the first machine.
    return Allocation(
        job,
        node,
        int(environment.get("SLURM_NODEID", "0")),
        environment.get("SLURM_STEP_NODELIST") or node,
        int(environment.get("SLURM_STEP_NUM_TASKS") or "1"),
        f"{job}.{environment.get('SLURM_STEP_ID', 'batch')}.{environment.get('SLURM_RESTART_COUNT', '0')}",
    )


def check_tasks(found: Allocation, nodes: int) -> None:
    """Raise UserError unless Slurm starts one process on each of ``nodes`` machines."""
    if found.tasks != nodes:
        raise UserError(
            f"hardware.nodes is {nodes}, but Slurm starts {found.tasks} {'process' if found.tasks == 1 else 'processes'} here. "
            f"Allowed: one per machine, which starts those of the cards: srun --nodes={nodes} --ntasks-per-node=1 ..."
        )


def hosts(node_list: str) -> list[str]:
    """The names in a list in Slurm's notation, in its order."""
    return _ask("scontrol", "show", "hostnames", node_list).split()


def address(host: str) -> str:
    """The address of a machine, as Slurm itself uses it."""
    found = re.search(r"\bNodeAddr=(\S+)", _ask("scontrol", "show", "node", host))
    return found[1] if found else host


def port(found: Allocation) -> int:
    """The port of MindSpore's scheduler: the same on all machines, different for another job on them."""
    return 20000 + int(found.job) % 10000  # below those that Linux assigns by itself


@functools.cache
def cards(found: Allocation, target: str) -> list[int] | None:
    """The cards of this machine that belong to the job; None if Slurm does not manage cards of this kind.

    Raises UserError if Slurm counts them but does not say which.
    """
    given = job_cards(_ask("scontrol", "show", "job", "--details", found.job))
    for nodes, names in given.items():
        if found.node not in hosts(nodes):
            continue
        for name, indices in names.items():
            if not name.startswith(GRES[target]):
                continue
            if indices is None:
                raise UserError(
                    f"Slurm has given `{name}` to job {found.job} but does not say which, as its gres.conf has no File= "
                    "for them. Set ASCEND_RT_VISIBLE_DEVICES in the job's setup, or give hardware.card_ids=."
                )
            return indices
    return None


def job_cards(shown: str) -> dict[str, dict[str, list[int] | None]]:
    """Indices of a job's generic resources on its machines, from the output of ``scontrol show job --details``.

    The keys are lists of machines in Slurm's notation, then names such as ``npu``; None if only a count is known.
    """
    found: dict[str, dict[str, list[int] | None]] = {}
    for nodes, text in re.findall(r"^\s+Nodes=(\S+) .*?\bGRES=(\S*)", shown, re.MULTILINE):
        resources: dict[str, list[int] | None] = {}
        # name[:type]:count(IDX:0,2-3), several of them separated by commas
        for name, inner in re.findall(r"([A-Za-z]\w*)(?::[^:(),]+)*(?::\d+)?(\([^)]*\))?", text):
            indices = re.search(r"IDX:([0-9,-]+)", inner)
            resources[name] = sorted({*(resources.get(name) or []), *_expand(indices[1])}) if indices else None
        found[nodes] = resources
    return found


def _expand(ranges: str) -> list[int]:
    """``0,2-4`` -> 0, 2, 3, 4."""
    found: list[int] = []
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise UserError(f"Slurm does not answer {' '.join(command)}: {str(said).strip()}") from None
