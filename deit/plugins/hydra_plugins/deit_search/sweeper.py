"""hydra/sweeper=optuna: trials proposed from the results so far, up to ``n_trials``.

Hydra imports this module at each start, so it imports Optuna only when it sweeps.
"""

# No postponed annotations here: Hydra runs plugin modules before sys.modules knows them, where dataclasses look.

import importlib.util
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Optional

from hydra.plugins import sweeper
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.deit_sweeps.sweeper import parsed
from omegaconf import MISSING, DictConfig

from deit.compose import lazy_store
from deit.config.schema import SweepConfig
from deit.errors import UserError

if TYPE_CHECKING:
    from deit.sweeps.compose import Draft
    from deit.sweeps.samplers import Settings
    from deit.sweeps.space import Space


# Names and defaults of the settings are Optuna's.
@dataclass
class SamplerConf:
    name: str = MISSING


@dataclass
class PrunerConf:
    name: str = MISSING


@dataclass
class TpeConf(SamplerConf):
    """Tree-structured Parzen estimator."""

    name: str = "tpe"
    n_startup_trials: int = 10  # drawn at random at first
    n_ei_candidates: int = 24


@dataclass
class CmaesConf(SamplerConf):
    """Covariance matrix adaptation, for numbers; choices are drawn at random."""

    name: str = "cmaes"
    n_startup_trials: int = 1
    sigma0: Optional[float] = None
    popsize: Optional[int] = None


@dataclass
class RandomConf(SamplerConf):
    name: str = "random"


@dataclass
class GridConf(SamplerConf):
    """Every combination, in the order given."""

    name: str = "grid"


@dataclass
class Nsga2Conf(SamplerConf):
    """A genetic algorithm for several objectives."""

    name: str = "nsga2"
    population_size: int = 50
    mutation_prob: Optional[float] = None
    crossover_prob: float = 0.9
    swapping_prob: float = 0.5


@dataclass
class NoneConf(PrunerConf):
    name: str = "none"


@dataclass
class MedianConf(PrunerConf):
    """Ends a trial whose best value so far is worse than the median of the others at the same epoch."""

    name: str = "median"
    n_startup_trials: int = 5  # whole trials before any is pruned
    n_warmup_steps: int = 0  # epochs
    interval_steps: int = 1  # epochs
    n_min_trials: int = 1


@dataclass
class HyperbandConf(PrunerConf):
    """Brackets of successive halving: about one of ``reduction_factor`` trials continues at each rung."""

    name: str = "hyperband"
    min_resource: int = 1  # epochs
    max_resource: Optional[int] = None  # epochs; null: a whole training
    reduction_factor: int = 3
    bootstrap_count: int = 0


@dataclass
class OptunaConf:
    _target_: str = "hydra_plugins.deit_search.sweeper.Optuna"
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe"}, {"pruner": "none"}])
    n_trials: Optional[int] = None  # null: every combination, with the sampler grid
    seed: int = 0
    sampler: SamplerConf = MISSING
    pruner: PrunerConf = MISSING
    params: dict[str, Any] = field(default_factory=dict)  # for templates: the space, and settings of all trials


RESUMING = ("sweep.resume=", "sweep.retry_failed=")
SAMPLERS = (TpeConf, CmaesConf, RandomConf, GridConf, Nsga2Conf)
PRUNERS = (NoneConf, MedianConf, HyperbandConf)
lazy_store.store("optuna", OptunaConf, group="hydra/sweeper", provider="deit")
for group, kinds in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
    for kind in kinds:
        lazy_store.store(kind().name, kind, group=f"hydra/sweeper/{group}", provider="deit")


class Optuna(sweeper.Sweeper):
    """Checks the space before the first trial; the launcher's loop then asks it for trials."""

    def __init__(self, n_trials: Optional[int], seed: int, sampler: Any, pruner: Any, params: dict[str, Any]) -> None:
        self.n_trials, self.seed, self.sampler, self.pruner, self.params = n_trials, seed, sampler, pruner, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins

        self.loader, self.config = hydra_context.config_loader, config
        self.launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """``arguments`` are the typed overrides, which replace those of ``params``. Raises UserError."""
        if importlib.util.find_spec("optuna") is None:
            raise UserError("hydra/sweeper=optuna needs the package optuna: pip install 'deit-mindspore[search]'.")
        if not hasattr(self.launcher, "search"):
            name = self.config.hydra.runtime.choices["hydra/launcher"]
            raise UserError(f"hydra/launcher={name} cannot run a search, which has no list of trials; allowed: cards.")
        from deit.sweeps import space

        return self._search(space.parse(parsed(self.params, arguments, self.loader)))

    def _search(self, space: "Space") -> Any:
        from deit.sweeps import samplers, search
        from deit.sweeps.compose import check_ignored

        settings = samplers.Settings(self.n_trials, self.seed, dict(self.sampler), dict(self.pruner))
        drafts: list[Draft] = space.probe(self.launcher.check)
        check_ignored(drafts)
        task = drafts[0].config.task.name
        if task != "train":
            raise UserError(f"task={task}: a search compares trainings; remove hydra/sweeper=optuna.")
        aims, epochs = drafts[0].config.sweep, max(search.epochs(draft.config) for draft in drafts)
        samplers.check(settings, space, aims.objectives, epochs)
        _show(settings, space, aims)
        # The arguments that resume a sweep are not part of its trials.
        trials = replace(space, fixed=[text for text in space.fixed if not text.startswith(RESUMING)])
        about = settings.about() | {"space": trials.typed}
        return self.launcher.search(partial(search.Search, space=trials, settings=settings, aims=aims, epochs=epochs), about)


def _show(settings: "Settings", space: "Space", aims: SweepConfig) -> None:
    """Print a summary of the search."""
    from deit.console import console  # late: Hydra imports this module in every composition, and rich is slow

    most = "every combination" if settings.n_trials is None else f"{settings.n_trials} trials"
    pruner = "" if settings.pruner["name"] == "none" else f", pruner {settings.pruner['name']}"
    goals = ", ".join(f"{way} {name}" for way, name in zip(aims.directions, aims.objectives, strict=True))
    console().print(f"search to {goals}: {most}, sampler {settings.sampler['name']}{pruner}, seed {settings.seed}")
    for key, text in space.typed.items():
        console().print(f"  {key} = {text}")
    sys.stdout.flush()
