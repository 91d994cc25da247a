"""What a configuration may ask of an Ascend card, by the card's generation: overflow, number types, flash attention, graphs.

Pure functions for both sides. The launcher knows the generation if npu-smi shows it, the worker from MindSpore
(``deit/machine/card_generation.py``); None is an unknown one. docs/hardware.md names the sources: documents, no measurement.
"""

from __future__ import annotations

from collections.abc import Mapping

from deit.config.schema import HardwareConfig, ModelConfig, PrecisionConfig, RunConfig

OVERFLOW_MODE = "MS_ASCEND_CHECK_OVERFLOW_MODE"  # MindSpore reads it when it opens the device
INFNAN = "INFNAN_MODE"
FLASH_WIDTH = 16  # the width of a head must be a multiple of it
_FLASH = ("910B", "910_93")
_JIT_LEVELS = {"910A": "O0", "910B": "O1", "910_93": "O1"}


def overflow_mode(target: str, environment: Mapping[str, str]) -> list[str]:
    """A line if ``environment`` would let float16 saturate, so that no step would see an overflow."""
    found = environment.get(OVERFLOW_MODE) or INFNAN
    if target != "ascend" or found == INFNAN:
        return []
    return [
        f"The environment has {OVERFLOW_MODE}={found}, but a training sees an overflow only as inf or nan; allowed with "
        f"hardware.target=ascend: {INFNAN}, or unset it."
    ]


def network(model: ModelConfig, precision: PrecisionConfig, target: str, generation: str | None) -> list[str]:
    """One line for each reason why a network cannot be computed on a card of ``generation``."""
    found = []
    if target == "ascend" and generation == "910A" and precision.level != "O0":
        is_bfloat = precision.dtype == "bfloat16"
        asked = "precision.dtype is bfloat16" if is_bfloat else f"precision.level is {precision.level} with float16"
        why = (
            "has no bfloat16" if is_bfloat else "turns an overflow of float16 into the largest number, so no step would see it"
        )
        found.append(f"{asked}, but the Ascend card is a 910A, which {why}; give precision=fp32.")
    if model.attention == "flash":
        found += flash_obstacles(model, precision, target, generation)
    return found


def flash_obstacles(model: ModelConfig, precision: PrecisionConfig, target: str, generation: str | None = None) -> list[str]:
    """One line for each reason against ``model.attention=flash``; a target of ``auto`` is none."""
    width = model.embed_dim // model.num_heads
    found = []
    if target in ("cpu", "gpu"):
        found.append(f"needs Ascend, but hardware.target is {target}")
    if generation == "910A":
        found.append("needs an Ascend 910B or newer, but the card is a 910A")
    if precision.level == "O0":
        found.append("needs half precision, but precision.level is O0")
    if width % FLASH_WIDTH:
        found.append(
            f"needs heads whose width is a multiple of {FLASH_WIDTH}, but model.embed_dim is {model.embed_dim} and "
            f"model.num_heads {model.num_heads}, which is {width}"
        )
    return [f"model.attention is flash, which {reason}; give model.attention=auto." for reason in found]


def uses_flash(model: ModelConfig, precision: PrecisionConfig, target: str, generation: str | None) -> bool:
    """Whether a network uses flash attention; ``auto`` does where it is known to be possible."""
    if model.attention == "auto":
        return target == "ascend" and generation in _FLASH and not flash_obstacles(model, precision, target, generation)
    return model.attention == "flash"


def jit_level(hardware: HardwareConfig, generation: str | None) -> str | None:
    """MindSpore's level for compiled graphs; None leaves it to MindSpore, which takes the deprecated GE on a 910A."""
    if not hardware.jit:
        return None
    return _JIT_LEVELS.get(generation or "") if hardware.jit_level == "auto" else hardware.jit_level


def of_network(config: RunConfig, generation: str | None) -> list[str]:
    """``network`` for the network of ``config``."""
    return network(config.model, config.precision, config.hardware.target, generation)
