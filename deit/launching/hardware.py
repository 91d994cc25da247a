"""Which cards this machine has, and whether a run's hardware is among them. No driver is loaded for it."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from deit.config.schema import HardwareConfig
from deit.errors import UserError

# The device files of the drivers, and the variable that narrows down which cards a process sees.
DEVICE_FILES = {"ascend": r"davinci(\d+)", "gpu": r"nvidia(\d+)"}
VISIBLE = {"ascend": "ASCEND_RT_VISIBLE_DEVICES", "gpu": "CUDA_VISIBLE_DEVICES"}
NAMES = {"ascend": "Ascend card", "gpu": "GPU", "cpu": "CPU core"}


def card_ids(target: str) -> list[int]:
    """Numbers of the cards of a kind that this process may use, as the environment narrows them down."""
    found = sorted(int(match[1]) for path in Path("/dev").iterdir() if (match := re.fullmatch(DEVICE_FILES[target], path.name)))
    visible = os.environ.get(VISIBLE[target])
    if visible is None:
        return found
    return [int(number) for number in visible.split(",") if number.strip().isdigit() and int(number) in found]


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def resolve(hardware: HardwareConfig) -> HardwareConfig:
    """Replace ``target: auto`` by what is here."""
    if hardware.target != "auto":
        return hardware
    return dataclasses.replace(hardware, target="ascend" if card_ids("ascend") else "cpu")


def check(hardware: HardwareConfig) -> None:
    """Raise UserError where this machine lacks what the run asks for. ``hardware`` is resolved."""
    target, wanted = hardware.target, hardware.cards
    if target == "cpu":
        if wanted > cores():
            raise UserError(
                f"hardware.cards={wanted}: this machine has {_count(cores(), target)} for as many processes. "
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
            f"hardware.cards={wanted}: this machine has {_count(len(found), target)}{limited}. Allowed: 1 to {len(found)}."
        )
    absent = sorted(set(hardware.card_ids or ()) - set(found))
    if absent:
        raise UserError(f"hardware.card_ids={hardware.card_ids}: no {NAMES[target]} {absent[0]} here. Allowed: {found}.")


def _count(number: int, target: str) -> str:
    return f"{number} {NAMES[target]}{'' if number == 1 else 's'}"
