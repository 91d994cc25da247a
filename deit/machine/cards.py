"""The cards of this machine: which there are, whether they suffice for a run, and leasing them. Loads no driver."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deit.config.schema import HardwareConfig
from deit.errors import UserError
from deit.machine import card_generation, leases, npu_smi, slurm
from deit.machine.card_usage import busy

DEVICES = Path("/dev")
# The device files of the drivers, and the variable that restricts the cards of a process.
DEVICE_FILES = {"ascend": r"davinci(\d+)", "gpu": r"nvidia(\d+)"}
VISIBLE = {"ascend": "ASCEND_RT_VISIBLE_DEVICES", "gpu": "CUDA_VISIBLE_DEVICES"}
NAMES = {"ascend": "Ascend card", "gpu": "GPU", "cpu": "CPU core"}
MASTER_PORT = 8118  # of the scheduler on machine 0, if neither the user nor Slurm sets another; msrun's default


def all_card_ids(target: str) -> list[int]:
    """Numbers of all cards of a kind that have a device file."""
    return sorted(int(match[1]) for path in DEVICES.iterdir() if (match := re.fullmatch(DEVICE_FILES[target], path.name)))


def card_ids(target: str) -> list[int]:
    """Numbers of the cards of a kind that this process may use, as restricted by the environment or Slurm."""
    found = all_card_ids(target)
    visible = os.environ.get(VISIBLE[target])
    if visible is None:
        inside = slurm.allocation()
        given = slurm.cards(inside, target) if inside else None
        return found if given is None else [number for number in given if number in found]
    return [int(number) for number in visible.split(",") if number.strip().isdigit() and int(number) in found]


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def resolve(hardware: HardwareConfig) -> HardwareConfig:
    """Replace ``target: auto`` by the device of this machine, and set the node rank and address from Slurm."""
    if hardware.target == "auto":
        hardware = dataclasses.replace(hardware, target="ascend" if card_ids("ascend") else "cpu")
    return _placed(hardware) if hardware.nodes > 1 else hardware


def _placed(hardware: HardwareConfig) -> HardwareConfig:
    rank, address, port = hardware.node_rank, hardware.master_addr, hardware.master_port
    inside = slurm.allocation()
    if inside and None in (rank, address):
        slurm.check_tasks(inside, hardware.nodes)
        rank = inside.node_rank if rank is None else rank
        address = address or slurm.address(slurm.hosts(inside.node_list)[0])
        port = port or slurm.port(inside)
    return dataclasses.replace(hardware, node_rank=rank, master_addr=address, master_port=port or MASTER_PORT)


def check(hardware: HardwareConfig) -> None:
    """Raise UserError if this machine lacks what the run needs. ``hardware`` is resolved."""
    if hardware.rank_table is not None and not Path(hardware.rank_table).is_file():
        raise UserError(f"hardware.rank_table={hardware.rank_table}: no such file. msrun does not need one; remove it.")
    target, wanted = hardware.target, hardware.cards
    if hardware.nodes > 1:
        unknown = [
            f"hardware.{key} is null, but hardware.nodes is {hardware.nodes}; give hardware.{key}=VALUE on each machine, or "
            "start it through Slurm, which sets it."
            for key in ("node_rank", "master_addr")
            if getattr(hardware, key) is None
        ]
        if unknown:
            raise UserError("\n".join(unknown))
    _check_port(hardware)
    if target == "cpu":
        if wanted > cores():
            raise UserError(
                f"hardware.cards={wanted}: this machine has {count(cores(), target)} for as many processes. "
                f"Allowed: 1 to {cores()}."
            )
        return
    found = card_ids(target)
    limited = f" ({VISIBLE[target]}={os.environ[VISIBLE[target]]})" if VISIBLE[target] in os.environ else ""
    if not found:
        raise UserError(
            f"hardware.target={target}: there is no {NAMES[target]} on this machine{limited}. "
            "Try hardware=cpu, or hardware=auto."
        )
    if wanted > len(found):
        raise UserError(
            f"hardware.cards={wanted}: this machine has {count(len(found), target)}{limited}. Allowed: 1 to {len(found)}."
        )
    absent = sorted(set(hardware.card_ids or ()) - set(found))
    if absent:
        raise UserError(f"hardware.card_ids={hardware.card_ids}: no {NAMES[target]} {absent[0]} here. Allowed: {found}.")


def chosen(hardware: HardwareConfig) -> list[int]:
    """The cards that the environment gives to a run; none on the CPU."""
    if hardware.target not in VISIBLE:
        return []
    return hardware.card_ids or card_ids(hardware.target)[: hardware.cards]


def chips(hardware: HardwareConfig) -> list[npu_smi.Chip]:
    """The Ascend cards in npu-smi that this run may use; empty on other devices, and without npu-smi."""
    if hardware.target != "ascend":
        return []
    candidates = hardware.card_ids or card_ids("ascend")
    return [chip for chip in npu_smi.chips(npu_smi.table()) if chip.number in candidates]


def generation(hardware: HardwareConfig) -> str | None:
    """``910A``, ``910B`` or ``910_93`` of this machine's cards before the start; None if npu-smi does not tell.

    A worker knows more: ``deit/engine/device.py``.
    """
    return card_generation.common(chips(hardware))


@contextmanager
def leased(hardware: HardwareConfig, holder: str) -> Iterator[list[int]]:
    """The cards of a run, leased while it works, so that no other launch takes them; none on the CPU.

    Takes ``card_ids`` if they are given, else free ones. Raises UserError if too few are free.
    """
    if hardware.target not in VISIBLE:
        yield []
        return
    taken = busy(hardware.target)
    held: list[int] = []
    wanted = hardware.card_ids or card_ids(hardware.target)
    with ExitStack() as until_end:
        for card in wanted:
            if card in taken or len(held) == hardware.cards:
                continue
            lease = leases.take(hardware.target, card, holder)
            if lease is None:
                taken[card] = leases.holder(hardware.target, card)
            else:
                held.append(card)
                until_end.enter_context(lease)
        if len(held) < hardware.cards:
            used = "; ".join(f"card {card}: {taken[card]}" for card in wanted if card in taken)
            raise UserError(
                f"hardware.cards={hardware.cards}: of {count(len(wanted), hardware.target)} only {len(held)} "
                f"{'is' if len(held) == 1 else 'are'} free ({used}). Wait, or give fewer cards."
            )
        yield sorted(held)


def _check_port(hardware: HardwareConfig) -> None:
    """A given ``master_port`` must be free: the scheduler of rank 0 listens there."""
    if hardware.master_port is None or hardware.node_rank not in (None, 0):
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", hardware.master_port))
        except OSError as error:
            raise UserError(
                f"hardware.master_port={hardware.master_port}: not free ({error.strerror}); give another."
            ) from None


def count(number: int, target: str) -> str:
    """``8 Ascend cards``."""
    return f"{number} {NAMES[target]}{'' if number == 1 else 's'}"
