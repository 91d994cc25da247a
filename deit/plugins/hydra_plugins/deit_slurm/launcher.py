"""hydra/launcher=slurm: each trial of a sweep is a Slurm job.

The keys are those of hydra-submitit-launcher, an optional package: without it the option exists and says that it is missing.
"""

# No postponed annotations here: Hydra runs plugin modules before sys.modules knows them, where dataclasses look.

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Optional

from hydra_plugins.deit_sweeps.launcher import Cards
from omegaconf import OmegaConf

from deit.compose import lazy_store
from deit.config.schema import RunConfig, SweepConfig
from deit.errors import UserError, nearest

if TYPE_CHECKING:
    from deit.sweeps.compose import Draft

try:
    from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf  # imports no submitit
except ImportError:
    # Accepts every key, so that the error is about the missing package.
    _node: Any = OmegaConf.create({"_target_": "hydra_plugins.deit_slurm.launcher.NotInstalled"}, flags={"struct": False})

else:

    @dataclass
    class SlurmConf(SlurmQueueConf):
        _target_: str = "hydra_plugins.deit_slurm.launcher.Slurm"
        name: str = "deit"
        # How often a job that reached its time limit is requeued; it resumes from its checkpoint.
        max_num_timeout: int = 100
        # Jobs in the queue at once; null: one for every trial.
        max_jobs: Optional[int] = None
        # Seconds between two looks at the queue.
        poll_interval: float = 10.0
        # Whether a sweep that is stopped stops its jobs; false leaves them to Slurm.
        cancel_jobs: bool = True

    _node = SlurmConf


lazy_store.store("slurm", _node, group="hydra/launcher", provider="deit")


class Elsewhere(Cards):
    """Everything is composed, checked and frozen here; the trials run on machines that cannot be checked."""

    conf: Any = None  # the structured configuration of the option

    def __init__(self, **options: Any) -> None:
        plain: Any = OmegaConf.to_container(OmegaConf.create(options))
        super().__init__(**plain)

    def setup(self, **given: Any) -> None:
        super().setup(**given)
        names = [field.name for field in fields(self.conf) if field.name != "_target_"]
        for name in self.options:
            if name not in names:  # after a `+`, which Hydra accepts
                raise UserError(
                    f"hydra.launcher.{name}: hydra/launcher={self.name} has no such key.{nearest(name, names)} "
                    f"Allowed: {', '.join(sorted(names))}."
                )

    def look(self, config: RunConfig) -> RunConfig:
        from deit.commands.table import prepare

        if config.hardware.target == "auto":
            raise UserError(
                "hardware.target is auto, but the trials run on other machines, which cannot be checked here; "
                f"allowed with hydra/launcher={self.name}: ascend, gpu, cpu."
            )
        return prepare(config, here=False)

    def check_place(self, drafts: "Sequence[Draft]", settings: SweepConfig) -> None:
        from deit.preflight.unchecked import unchecked

        unchecked(f"hydra/launcher={self.name}: the cards, folders and packages of the machines that the trials run on")


class Slurm(Elsewhere):
    """Calls sbatch, on a login node for example."""

    name = "slurm"
    conf = _node


class NotInstalled(Cards):
    """Replaces ``Slurm`` if its packages are missing."""

    def setup(self, **given: Any) -> None:
        raise UserError('hydra/launcher=slurm needs submitit: pip install "deit-mindspore[slurm]"')
