"""Samplers, pruners and spaces of searches."""

from __future__ import annotations

from hydra.core.override_parser.overrides_parser import OverridesParser

from deit.sweeps import space

LR = "optim.base_lr=tag(log,interval(1e-4,1e-2))"
NONE, RANDOM, TPE = {"name": "none"}, {"name": "random"}, {"name": "tpe", "n_startup_trials": 2}
HYPERBAND = {"name": "hyperband", "min_resource": 1, "max_resource": None, "reduction_factor": 3, "bootstrap_count": 0}
MEDIAN = {"name": "median", "n_startup_trials": 1, "n_warmup_steps": 0, "interval_steps": 1, "n_min_trials": 1}


def parsed(*texts: str) -> space.Space:
    return space.parse(OverridesParser.create().parse_overrides(list(texts)))
