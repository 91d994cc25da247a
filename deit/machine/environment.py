"""The origin of a run: code, versions, machine; ``environment.json`` of the run directory."""

from __future__ import annotations

import importlib.metadata
import platform
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deit.config.schema import RunConfig
from deit.installation import DISTRIBUTION, IS_WHEEL, ROOT, words
from deit.machine import card_generation, npu_smi
from deit.machine.cards import cores
from deit.machine.command import output
from deit.secrets import redact

PACKAGES = ("mindspore", "numpy", "hydra-core", "omegaconf", "mlflow", "opencv-python-headless", "pillow", "safetensors")


def describe(config: RunConfig, cards: Sequence[int] = ()) -> dict[str, Any]:
    """The environment of a run about to start. ``cards`` are those that it has taken."""
    return {
        "program": words(),
        "command": [*words(), *(redact(text) for text in sys.argv[1:])],
        "working_directory": str(Path.cwd()),
        "git": git_state(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in (DISTRIBUTION, *PACKAGES)}},
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu_cores": cores(),
        "target": config.hardware.target,
        "cards": config.hardware.cards,
        "nodes": config.hardware.nodes,
        **({"card_ids": list(cards)} if cards else {}),
        **_npu(config, cards),
    }


def _npu(config: RunConfig, cards: Sequence[int]) -> dict[str, Any]:
    """What npu-smi says of the Ascend cards: ``{"npu": {"names": ["910B3"], "generation": "910B", "driver": "24.1.rc3"}}``."""
    if config.hardware.target != "ascend":
        return {}
    table = npu_smi.table()
    chips = [chip for chip in npu_smi.chips(table) if not cards or chip.number in cards]
    return {
        "npu": {
            "names": [chip.name for chip in chips],
            "generation": card_generation.common(chips),
            "driver": npu_smi.driver_version(table),
        }
    }


def git_state() -> dict[str, Any]:
    """Commit, and whether files differ from it; None for both outside a checkout."""
    if IS_WHEEL:  # it may be installed inside the repository of somebody else's project
        return {"commit": None, "dirty": None}
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if commit is None or changes is None else bool(changes)}


def _git(*arguments: str) -> str | None:
    answer = output("git", *arguments, timeout=10, folder=ROOT)
    return None if answer is None else answer.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
