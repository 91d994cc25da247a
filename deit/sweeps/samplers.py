"""Optuna's samplers and pruners by the names and settings of ``hydra/sweeper/sampler`` and ``hydra/sweeper/pruner``."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import optuna

from deit.errors import UserError
from deit.scores import NAMES
from deit.sweeps.space import Choice, Space

warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
optuna.logging.set_verbosity(optuna.logging.ERROR)  # the sweep prints its own messages

_SAMPLERS: dict[str, Callable[..., optuna.samplers.BaseSampler]] = {
    # Trials run in parallel: constant_liar keeps a proposal away from those still running. With one objective the interaction
    # of the parameters is learned (multivariate).
    "tpe": partial(optuna.samplers.TPESampler, constant_liar=True),
    "cmaes": partial(optuna.samplers.CmaEsSampler, warn_independent_sampling=False),
    "nsga2": optuna.samplers.NSGAIISampler,
    "random": optuna.samplers.RandomSampler,
    "grid": optuna.samplers.RandomSampler,  # its combinations are passed to Optuna, which draws nothing
}


@dataclass(frozen=True)
class Settings:
    """``hydra.sweeper`` as composed. ``sampler`` and ``pruner`` have the ``name`` and Optuna's own arguments."""

    n_trials: int | None
    seed: int
    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any]

    def about(self) -> dict[str, Any]:
        """For ``sweep.json``."""
        return {"n_trials": self.n_trials, "seed": self.seed, "sampler": dict(self.sampler), "pruner": dict(self.pruner)}


def check(settings: Settings, space: Space, objectives: Sequence[str], epochs: int) -> None:
    """Raise UserError for settings that contradict each other or the space. ``epochs`` are those of a training."""
    name, n_trials = settings.sampler["name"], settings.n_trials
    if n_trials is None and name != "grid":
        raise UserError("hydra.sweeper.n_trials is not set; give the number of trials that the search may start, such as 20.")
    if n_trials is not None and n_trials < 1:
        raise UserError(f"hydra.sweeper.n_trials is {n_trials}; allowed: a whole number, at least 1.")
    if settings.seed < 0:
        raise UserError(f"hydra.sweeper.seed is {settings.seed}; allowed: a whole number, at least 0.")
    if name == "grid":
        next(space.combinations())  # refuses intervals
    if name == "cmaes":
        _check_cmaes(space, objectives)
    if settings.pruner["name"] != "none":
        if len(objectives) > 1:
            raise UserError(
                f"hydra/sweeper/pruner={settings.pruner['name']} uses one metric, but sweep.objectives has "
                f"{len(objectives)}; give one objective, or hydra/sweeper/pruner=none."
            )
        intermediate(objectives[0])
    try:
        sampler(settings, 0)
        pruner(settings, epochs)
    except ValueError as error:
        raise UserError(f"hydra.sweeper: {error}") from None


def _check_cmaes(space: Space, objectives: Sequence[str]) -> None:
    if importlib.util.find_spec("cmaes") is None:
        raise UserError("hydra/sweeper/sampler=cmaes needs the package cmaes: pip install 'deit-mindspore[search]'.")
    if len(objectives) > 1:
        raise UserError(
            f"hydra/sweeper/sampler=cmaes has one objective, but sweep.objectives has {len(objectives)}; give sampler=nsga2."
        )
    if all(isinstance(dimension, Choice) for dimension in space.dimensions.values()):
        raise UserError(
            "hydra/sweeper/sampler=cmaes moves along numbers; give an interval(...), a range(...) or another sampler."
        )


def sampler(settings: Settings, number: int) -> optuna.samplers.BaseSampler:
    """The sampler for the proposal with this number.

    Its random draws depend only on the seed, the number and the results so far: a resumed search proposes what it would have
    proposed without the interruption.
    """
    seed = int(np.random.SeedSequence((settings.seed, number)).generate_state(1)[0])
    given = dict(settings.sampler)
    name = given.pop("name")
    if name not in _SAMPLERS:
        raise UserError(f"hydra.sweeper.sampler.name is {name!r}; choose hydra/sweeper/sampler=OPTION.")
    return _SAMPLERS[name](seed=seed, **given)


def pruner(settings: Settings, epochs: int) -> optuna.pruners.BasePruner:
    """The pruner; it counts in epochs. Hyperband's largest resource is a whole training by default."""
    given = {key: value for key, value in settings.pruner.items() if key != "name"}
    match settings.pruner["name"]:
        case "none":
            return optuna.pruners.NopPruner()
        case "median":
            return optuna.pruners.MedianPruner(**given)
        case "hyperband":
            most = given.pop("max_resource")
            most = epochs if most is None else most
            if not 1 <= given["min_resource"] <= most:
                raise UserError(
                    f"hydra.sweeper.pruner.min_resource is {given['min_resource']} and max_resource {most} (epochs; a training "
                    "takes that many unless it is given); allowed: 1 <= min_resource <= max_resource."
                )
            return optuna.pruners.HyperbandPruner(max_resource=most, **given)
        case name:
            raise UserError(f"hydra.sweeper.pruner.name is {name!r}; choose hydra/sweeper/pruner=OPTION.")


def intermediate(objective: str) -> str:
    """The metric of each evaluation behind an objective: ``val/top1`` for ``best/val_top1``.

    Raises UserError if it is not a metric of an evaluation.
    """
    name = objective
    if objective.startswith("best/"):
        kind = objective.removeprefix("best/")
        prefix = "val_ema" if kind.startswith("val_ema_") else "val"
        name = f"{prefix}/{kind.removeprefix(f'{prefix}_')}"
    if name not in [f"{prefix}/{metric}" for prefix in ("val", "val_ema") for metric in NAMES]:
        raise UserError(
            f"sweep.objectives: a pruner uses evaluations, which do not have {objective}; allowed: best/val_top1, "
            f"best/val_ema_top1, and {', '.join(NAMES)} of val/ and val_ema/, or hydra/sweeper/pruner=none."
        )
    return name
