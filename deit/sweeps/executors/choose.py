"""The executor for an option of hydra/launcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deit.config.schema import SweepConfig
from deit.sweeps.executors.base import Executor


def build(launcher: str, options: dict[str, Any], settings: SweepConfig, folder: Path) -> Executor:
    """The executor for an option of hydra/launcher and its keys; ``folder`` is the working directory of the trials."""
    if launcher == "cards":
        from deit.sweeps.executors.local import Local

        return Local(settings.cards, folder)
    if launcher == "slurm":
        from deit.sweeps.executors import slurm_executor

        return slurm_executor.build(options, settings, folder)
    if launcher == "ray":
        from deit.sweeps.executors.ray import Ray

        return Ray(options["address"], settings, folder)
    raise ValueError(f"{launcher}: no such launcher")
