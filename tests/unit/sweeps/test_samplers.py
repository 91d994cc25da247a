"""Samplers and pruners that do not fit the space or the objectives are rejected."""

from __future__ import annotations

import pytest
from search_settings import HYPERBAND, LR, MEDIAN, NONE, RANDOM, TPE, parsed

from deit.errors import UserError
from deit.sweeps import samplers
from deit.sweeps.samplers import Settings


@pytest.mark.parametrize(
    ("sampler", "pruner", "text", "objectives", "said"),
    [
        (RANDOM, NONE, LR, ["val/top1"], "n_trials is not set"),
        ({"name": "grid"}, NONE, LR, ["val/top1"], "no single values"),
        ({"name": "cmaes"}, NONE, "seed=1,2", ["val/top1"], "moves along numbers"),
        ({"name": "cmaes"}, NONE, LR, ["val/top1", "val/loss"], "one objective"),
        ({"name": "nsga2", "population_size": 1}, NONE, LR, ["val/top1", "val/loss"], "population_size"),
        (TPE, MEDIAN, LR, ["val/top1", "val/loss"], "uses one metric"),
        (TPE, MEDIAN, LR, ["perf/step_ms"], "do not have perf/step_ms"),
        (TPE, {**HYPERBAND, "min_resource": 10}, LR, ["val/top1"], "min_resource is 10 and max_resource 9"),
    ],
)
def test_incompatible_search_settings_are_rejected(
    sampler: dict, pruner: dict, text: str, objectives: list[str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        samplers.check(Settings(None if "not set" in said else 3, 0, sampler, pruner), parsed(text), objectives, 9)
