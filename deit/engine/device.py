"""The device of this process, as MindSpore knows it after ``set_device``."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import mindspore as ms
from mindspore import get_context, nn
from mindspore._c_expression import MSContext

from deit.config import card_rules
from deit.config.schema import HardwareConfig
from deit.machine import card_generation


def generation() -> str | None:
    """``910A``, ``910B`` or ``910_93`` on an Ascend card; None on other devices, and for a chip that is none of these."""
    return card_generation.of_soc(soc()) if get_context("device_target") == "Ascend" else None


def soc() -> str:
    """MindSpore's name of the Ascend chip, such as ``ascend910b``; empty on other devices."""
    return str(MSContext.get_instance().get_ascend_soc_version())


Graph = TypeVar("Graph", bound=nn.Cell)


def run_ahead(hardware: HardwareConfig) -> None:
    """Let the host prepare the next steps of a training while an Ascend card computes.

    In graph mode MindSpore waits for the card at the end of every graph. Outside of it a graph is only put into the card's
    queue, but a cell is a graph only if it is ``compiled``.
    """
    if runs_ahead(hardware):
        ms.set_context(mode=ms.PYNATIVE_MODE)


def compiled(cell: Graph, hardware: HardwareConfig) -> Graph:
    """The cell, which is one graph also after ``run_ahead``."""
    if runs_ahead(hardware):
        # The backend is named because a 910A's default is GE, which this is not.
        level = card_rules.jit_level(hardware, generation()) or "O0"
        cell.construct = ms.jit(cell, jit_level=level, backend="ms_backend")
    return cell


def runs_ahead(hardware: HardwareConfig) -> bool:
    """Whether a training puts its steps into the queue of a card without waiting for them."""
    # O2 is GE, which compiles whole cells in graph mode alone.
    return hardware.jit and hardware.target == "ascend" and card_rules.jit_level(hardware, generation()) in ("O0", "O1")


def describe(hardware: HardwareConfig) -> dict[str, Any]:
    """What MindSpore says of the device, and how it was set to compute; on the CPU only what is not MindSpore's default.

    ``{"target": "Ascend", "soc": "ascend910b", "generation": "910B", "overflow_mode": "INFNAN_MODE", "jit_level": "O1",
    "deterministic": true}``
    """
    target = str(get_context("device_target"))
    found: dict[str, Any] = {"target": target}
    if target == "Ascend":
        found |= {"soc": soc(), "generation": generation(), "overflow_mode": os.environ.get(card_rules.OVERFLOW_MODE)}
    if (level := card_rules.jit_level(hardware, generation())) is not None:
        found["jit_level"] = level
    if target != "CPU":
        found["deterministic"] = hardware.deterministic
    return found
