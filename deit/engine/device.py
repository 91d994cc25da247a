"""The device of this process, as MindSpore knows it after ``set_device``."""

from __future__ import annotations

import os
from typing import Any

from mindspore import get_context
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
