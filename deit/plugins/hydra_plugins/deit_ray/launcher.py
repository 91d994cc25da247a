"""hydra/launcher=ray: each trial of a sweep is a Ray task. Ray is optional."""

# No postponed annotations here: Hydra runs plugin modules before sys.modules knows them, where dataclasses look.

import importlib.util
from dataclasses import dataclass
from typing import Any, Optional

from hydra_plugins.deit_slurm.launcher import Elsewhere

from deit.compose import lazy_store
from deit.errors import UserError


@dataclass
class RayConf:
    _target_: str = "hydra_plugins.deit_ray.launcher.Ray"
    # Address of a cluster, as in ray.init: `auto`, HOST:PORT; null: this machine alone.
    address: Optional[str] = None


lazy_store.store("ray", RayConf, group="hydra/launcher", provider="deit")


class Ray(Elsewhere):
    """Tasks of a running Ray cluster, or of one started for the sweep."""

    name = "ray"
    conf = RayConf

    def setup(self, **given: Any) -> None:
        if importlib.util.find_spec("ray") is None:
            raise UserError('hydra/launcher=ray needs Ray: pip install "deit-mindspore[ray]"')
        super().setup(**given)
