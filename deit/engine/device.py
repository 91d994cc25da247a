"""The device of this process, as MindSpore knows it after ``set_device``."""

from __future__ import annotations

from typing import Any

from mindspore import get_context
from mindspore._c_expression import MSContext

from deit.machine import card_generation


def generation() -> str | None:
    """``910A``, ``910B`` or ``910_93`` on an Ascend card; None on other devices, and for a chip that is none of these."""
    return card_generation.of_soc(soc()) if get_context("device_target") == "Ascend" else None


def soc() -> str:
    """MindSpore's name of the Ascend chip, such as ``ascend910b``; empty on other devices."""
    return str(MSContext.get_instance().get_ascend_soc_version())


def describe() -> dict[str, Any]:
    """What MindSpore says of the device: ``{"target": "Ascend", "soc": "ascend910b", "generation": "910B"}``."""
    target = str(get_context("device_target"))
    return {"target": target} | ({"soc": soc(), "generation": generation()} if target == "Ascend" else {})
